"""What the checks read of a Pod, or of a workload's template.

Source: upstream's pod-security-admission, policy (visitor and helpers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Subject:
    """Metadata and spec of a Pod; either may lack anything."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def is_windows(self) -> bool:
        return (self.spec.get("os") or {}).get("name") == "windows"

    @property
    def has_user_namespace(self) -> bool:
        return self.spec.get("hostUsers") is False

    @property
    def context(self) -> Mapping[str, Any]:
        """The security context of the Pod as a whole."""
        return self.spec.get("securityContext") or {}

    @property
    def containers(self) -> Iterable[Mapping[str, Any]]:
        """All containers in upstream's order."""
        for part in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(part) or ()

    def bad(self, is_bad: Callable[[Mapping[str, Any]], bool]) -> list[str]:
        """The names of the containers whose security context is bad."""
        return [
            str(container.get("name", ""))
            for container in self.containers
            if is_bad(container.get("securityContext") or {})
        ]


@dataclass(frozen=True, slots=True)
class Violation:
    """What a check forbids: in a few words, and with names and values."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def quoted(items: Iterable[str]) -> str:
    """Each in quotes, with commas between."""
    return ", ".join(f'"{item}"' for item in items)


def counted(noun: str, items: Iterable[str]) -> str:
    """`container "a"`, `containers "a", "b"`."""
    names = list(items)
    return f"{plural(noun, len(names))} {quoted(names)}"


def plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def setters(pod: bool, containers: list[str]) -> str:  # noqa: FBT001
    """Who sets something: the Pod, containers, or both."""
    parts = ["pod"] if pod else []
    if containers:
        parts.append(counted("container", containers))
    return " and ".join(parts)
