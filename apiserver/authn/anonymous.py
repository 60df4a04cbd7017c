"""Who may ask without credentials.

Source: Kubernetes documentation, "Anonymous requests" and AuthenticationConfiguration.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnonymousAccess:
    """`paths` are the only ones where there are any."""

    enabled: bool = True
    paths: frozenset[str] = frozenset()

    def allows(self, path: str) -> bool:
        """Whether a request for `path` may come from nobody."""
        return self.enabled and (not self.paths or path in self.paths)


EVERYWHERE = AnonymousAccess()
