"""Image references: `[registry/]repository[:tag][@digest]`, and their full form.

Source: the distribution project's reference grammar; Docker Hub's default registry and "library".
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_REGISTRY = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_DOMAIN}(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?"
)


class Reference(NamedTuple):
    """A full reference."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag}"


def parse_reference(text: str) -> Reference:
    """Fill in what `text` leaves out: Docker Hub, its "library", and the tag "latest".

    Raises:
        ValueError: `text` does not name an image.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or len(text) > 1024:
        raise ValueError("invalid reference format")
    registry = match["registry"] or ""
    repository = match["repository"]
    if registry and "." not in registry and ":" not in registry and registry != "localhost":
        # "kubraft/web": the first part of a path, not a host.
        registry, repository = "", f"{registry}/{repository}"
        if repository != repository.lower():
            raise ValueError("invalid reference format: repository name must be lowercase")
    if registry in {"", "index.docker.io"}:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return Reference(registry, repository, tag, match["digest"] or "")
