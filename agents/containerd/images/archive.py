"""A built-in image under another name, as an OCI archive: what `kubraft images import` takes.

Source: OCI image layout 1.0; the annotation is containerd's own for a full name.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, Final

from agents.containerd.images.catalog import MANIFEST_TYPE, Catalog, digest

_NAME: Final = "io.containerd.image.name"


def write_archive(target: Path, catalog: Catalog, image: str, name: str) -> None:
    """Write the built-in `image` ("busybox") as `name` ("example.com/tool:v1") into `target`.

    Raises:
        ValueError: there is no such image.
        OSError: the file cannot be written.
    """
    repository = image if "/" in image else f"library/{image}"
    manifest = catalog.manifest("docker.io", repository, "latest")
    if manifest is None:
        raise ValueError(f"no built-in image is called {image}")
    described: dict[str, Any] = json.loads(manifest)
    config = catalog.document(described["config"]["digest"])
    assert config is not None, "the manifest was made just now"
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {_NAME: name},
    }
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        index = {"schemaVersion": 2, "manifests": [entry]}
        _add(archive, "index.json", json.dumps(index).encode())
        for document in (manifest, config):
            _add(archive, _blob(digest(document)), document)
        for each in described["layers"]:
            layer = catalog.layer(each["digest"])
            assert layer is not None, "the manifest was made just now"
            archive.add(layer.path, _blob(layer.digest))


def _blob(name: str) -> str:
    return "blobs/" + name.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
