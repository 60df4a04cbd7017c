"""Which built-in images there are, and the documents that describe them. Pure but for the layers.

Source: OCI image specification 1.0, manifest and configuration.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from agents.containerd.images.layers import ENTRY, Layer, Layers
from agents.runtime.images import BUILTIN_NAMES

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DOCUMENTS_MAX: Final = 512
_SERVER: Final = ("python3", ENTRY)


@dataclass(frozen=True, slots=True)
class _Kind:
    python: bool
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


_KINDS: Final = {
    "busybox": _Kind(python=False, command=("sh",)),
    "pause": _Kind(python=False, entrypoint=("/pause",)),
    "python": _Kind(python=True, command=("python3",)),
    "kubraft/web": _Kind(python=True, entrypoint=(*_SERVER, "web")),
    "nginx": _Kind(python=True, entrypoint=(*_SERVER, "nginx")),
}


class Catalog:
    """Manifests by name and tag, and every document by digest."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._documents: OrderedDict[str, bytes] = OrderedDict()

    def manifest(self, registry: str, repository: str, reference: str) -> bytes | None:
        """The manifest of a built-in image, whatever the tag; None where there is no such name.

        Makes the layers where that has not been done: seconds, the first time.
        """
        if reference.startswith("sha256:"):
            return self._documents.get(reference)
        name = BUILTIN_NAMES.get(f"{registry}/{repository}")
        if name is None:
            return None
        kind = _KINDS[name]
        layers = [self._layers.base(), *([self._layers.python()] if kind.python else [])]
        config = self._remember(_config(kind, f"{name}:{reference}", layers))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": _CONFIG_TYPE, "digest": digest(config), "size": len(config)},
            "layers": [
                {"mediaType": _LAYER_TYPE, "digest": layer.digest, "size": layer.size}
                for layer in layers
            ],
        }
        return self._remember(_json(manifest))

    def document(self, name: str) -> bytes | None:
        """A configuration or manifest by its digest, of those that were asked for lately."""
        return self._documents.get(name)

    def layer(self, name: str) -> Layer | None:
        """A layer by its digest."""
        return self._layers.by_digest(name)

    def _remember(self, document: bytes) -> bytes:
        self._documents[digest(document)] = document
        self._documents.move_to_end(digest(document))
        while len(self._documents) > _DOCUMENTS_MAX:
            self._documents.popitem(last=False)
        return document


def digest(content: bytes) -> str:
    """A document's name."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _config(kind: _Kind, image: str, layers: list[Layer]) -> bytes:
    """Differs by tag, so that a roll-out to another tag is another image."""
    machine = platform.machine()
    return _json(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {
                "Env": [f"PATH={_PATH}", f"KUBRAFT_IMAGE={image}"],
                "Entrypoint": list(kind.entrypoint),
                "Cmd": list(kind.command),
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
