"""The images of this runtime: built-in names that stand for the host's own programs.

A built-in image has every tag; a program is started from the host (`busybox`, `python`) or from
this package (`kubraft/web`, `nginx`, `pause`). Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from agents.runtime.reference import Reference, parse_reference


class ImageNotFoundError(Exception):
    """No image of that name is here."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container gets from its image."""

    name: str
    command: tuple[str, ...] = ()  # entry point and arguments where the Pod gives none
    builtin: str = ""  # the stand-in to run instead of a command
    path_first: tuple[str, ...] = ()  # directories before the usual PATH


@dataclass(frozen=True, slots=True)
class LocalImage:
    """One image under one reference, as ListImages shows it."""

    image: Image
    reference: Reference

    @property
    def id(self) -> str:
        """Differs by tag, so that a roll-out to another tag is seen in Pods' status."""
        return "sha256:" + hashlib.sha256(str(self.reference).encode()).hexdigest()

    @property
    def repo_digest(self) -> str:
        """The image by its content's name."""
        return f"{self.reference.name}@{self.id}"


BUILTIN_NAMES = {
    "docker.io/kubraft/web": "kubraft/web",
    "docker.io/library/busybox": "busybox",
    "docker.io/library/nginx": "nginx",
    "docker.io/library/pause": "pause",
    "docker.io/library/python": "python",
    "k8s.gcr.io/pause": "pause",
    "registry.k8s.io/pause": "pause",
}
_IDS_MAX = 4096


class ImageStore:
    """Finds images by reference or id, and remembers which references were asked for."""

    def __init__(self, python_path: str) -> None:
        """`python_path`: a directory with `python` and `python3`."""
        images = (
            Image("kubraft/web", builtin="web"),
            Image("busybox", command=("sh",)),
            Image("nginx", builtin="nginx"),
            Image("pause", builtin="pause"),
            Image("python", command=("python3",), path_first=(python_path,)),
        )
        self._images = {image.name: image for image in images}
        self._pulled: dict[str, LocalImage] = {}  # by id, oldest first

    def find(self, text: str) -> LocalImage | None:
        """The image of a reference or of an id that `pull` has answered; None where absent."""
        if text.startswith("sha256:"):
            return self._pulled.get(text)
        try:
            reference = parse_reference(text)
        except ValueError:
            return None
        for local in self._pulled.values():
            if reference.digest and local.repo_digest == str(reference):
                return local
        name = BUILTIN_NAMES.get(reference.name)
        if name is None or reference.digest:
            return None
        return self._remember(LocalImage(self._images[name], reference))

    def pull(self, text: str) -> LocalImage:
        """As `find`, for the user's ears.

        Raises:
            ImageNotFoundError: with what there is instead.
        """
        try:
            reference = parse_reference(text)
        except ValueError as error:
            raise ImageNotFoundError(f'failed to parse reference "{text}": {error}') from error
        local = self.find(text)
        if local is None:
            names = ", ".join(sorted(self._images))
            raise ImageNotFoundError(
                f'failed to pull image "{reference}": {reference}: not found: the process runtime '
                f"downloads nothing and runs only its built-in images ({names}), with any tag"
            )
        return local

    def remove(self, text: str) -> None:
        """Forget a reference; built-in images themselves cannot be removed."""
        local = self.find(text)
        if local is not None:
            self._pulled.pop(local.id, None)

    def list(self) -> list[LocalImage]:
        """Every reference that was asked for."""
        return list(self._pulled.values())

    def _remember(self, local: LocalImage) -> LocalImage:
        if local.id not in self._pulled:
            self._pulled[local.id] = local
            if len(self._pulled) > _IDS_MAX:
                del self._pulled[next(iter(self._pulled))]
        return self._pulled[local.id]
