"""The built-in images as layers, documents, a registry and an archive."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from agents.containerd.images.archive import write_archive
from agents.containerd.images.catalog import Catalog
from agents.containerd.images.layers import Layers
from agents.containerd.images.mirror import Mirror
from agents.containerd.images.tree import Tree


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog(Layers(tmp_path_factory.mktemp("images")))


@pytest.fixture
async def mirror(catalog: Catalog) -> AsyncIterator[Mirror]:
    mirror = Mirror(catalog)
    await mirror.open()
    yield mirror
    mirror.close()


def test_a_program_brings_its_links_and_libraries(tmp_path: Path) -> None:
    tree = Tree()
    tree.add_programs(["/bin/sh"])
    tree.save(tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as layer:
        names = set(layer.getnames())
        real = os.path.realpath("/bin/sh").lstrip("/")
        assert layer.getmember(real).mode & 0o111
    assert any(Path(name).name.startswith(("libc.", "ld-")) for name in names)
    parents = {str(parent) for name in names for parent in Path(name).parents} - {"."}
    assert parents <= names, "directories come before what is in them"


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        tree = Tree()
        tree.write("etc/b", b"2")
        tree.link("etc/a", "b")
        tree.folder("tmp", 0o1777)
        tree.add_programs(["/bin/cat"])
        path = tmp_path / f"{number}.tar"
        tree.save(path)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_every_tag_of_a_builtin_name_is_another_image_of_the_same_layers(catalog: Catalog) -> None:
    found = [
        json.loads(catalog.manifest("docker.io", "library/busybox", tag) or b"{}")
        for tag in ("1.36", "latest")
    ]
    assert found[0]["layers"] == found[1]["layers"]
    assert found[0]["config"]["digest"] != found[1]["config"]["digest"]
    config = json.loads(catalog.document(found[0]["config"]["digest"]) or b"{}")
    assert config["config"]["Cmd"] == ["sh"]
    assert config["rootfs"]["diff_ids"] == [found[0]["layers"][0]["digest"]]


async def test_the_registry_serves_what_pulling_takes(mirror: Mirror) -> None:
    async with aiohttp.ClientSession(mirror.url) as session:
        path = "/v2/pause/manifests/3.9?ns=registry.k8s.io"
        async with session.head(path) as head:
            name = head.headers["Docker-Content-Digest"]
            assert (head.status, head.content_length) == (200, int(head.headers["Content-Length"]))
        async with session.get(f"/v2/pause/manifests/{name}?ns=registry.k8s.io") as answer:
            body = await answer.read()
            assert name == "sha256:" + hashlib.sha256(body).hexdigest()
        for described in (json.loads(body)["config"], *json.loads(body)["layers"]):
            async with session.get(f"/v2/pause/blobs/{described['digest']}") as answer:
                blob = await answer.read()
            assert len(blob) == described["size"]
            assert described["digest"] == "sha256:" + hashlib.sha256(blob).hexdigest()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/v2/", 200, id="is it a registry"),
        pytest.param("GET", "/v2/library/nothing/manifests/v1", 404, id="no such name"),
        pytest.param("GET", "/v2/library/busybox/manifests/v1?ns=ghcr.io", 404, id="elsewhere"),
        pytest.param("GET", "/v2/x/blobs/sha256:0", 404, id="no such blob"),
        pytest.param("GET", "/../../etc/passwd", 404, id="no file"),
        pytest.param("POST", "/v2/library/busybox/blobs/uploads/", 405, id="nothing is pushed"),
    ],
)
async def test_the_registry_has_nothing_else(
    mirror: Mirror, method: str, path: str, status: int
) -> None:
    async with (
        aiohttp.ClientSession(mirror.url) as session,
        session.request(method, path) as answer,
    ):
        assert answer.status == status


def test_an_archive_has_all_blobs_under_their_digests(catalog: Catalog, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write_archive(target, catalog, "busybox", "example.com/tool:v1")
    with tarfile.open(target) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        (entry,) = json.loads(index.read())["manifests"]
        assert entry["annotations"] == {"io.containerd.image.name": "example.com/tool:v1"}
        for name in archive.getnames():
            if name.startswith("blobs/"):
                blob = archive.extractfile(name)
                assert blob is not None
                assert hashlib.sha256(blob.read()).hexdigest() == Path(name).name
    with pytest.raises(ValueError, match="no built-in image is called nothing"):
        write_archive(target, catalog, "nothing", "x")
