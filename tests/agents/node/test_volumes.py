"""Volumes on this node's disk: what containers may have done to them, and what goes with a Pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from agents.node import local_volumes
from agents.node.api_volumes import ApiVolumes
from agents.node.claim_volumes import ClaimVolumes
from agents.node.directory_tree import remove_tree
from agents.node.fields import Place
from agents.node.host_path import host_path
from agents.node.plan import Waiting
from agents.node.pod_memory import PodMemory
from agents.node.restart_backoff import RestartBackoff
from agents.node.volume_files import File, VolumeError, write_files
from agents.node.volume_mounts import mounts
from agents.node.volume_owner import give_to_group
from agents.node.volume_watch import check_limits, say_failed, size_bytes, size_limits
from agents.node.volumes import Volumes, VolumeSetUpError
from kubraft.api import storage
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.client.events import EventRecorder
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.node.pods import pod
from tests.agents.volume_objects import BOUND, claim, given, volume

PLACE = Place("127.0.0.2", "127.0.0.1", "node-0", {})
HELD = claim(volumeName="disk", annotations=BOUND, phase="Bound")
LOCAL: dict[str, Any] = {
    "csi": {"driver": storage.LOCAL_PROVISIONER, "volumeHandle": "pvc-1"},
    "claimRef": given(HELD),
    "node": "node-0",
}


class Node:
    """A node's volumes over objects of a test."""

    def __init__(self, folder: Path, *objects: Object) -> None:
        self.root = folder / "node"
        self.memory = folder / "memory"
        self.memory.mkdir(exist_ok=True)
        self.objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
        labels = {"kubernetes.io/hostname": "node-0"}
        self.volumes = Volumes(
            self.root,
            ApiVolumes(self.fetch, self.token),
            ClaimVolumes(self.root, self.fetch, "node-0", lambda: labels),
            self.memory,
        )

    async def fetch(self, gvk: GroupVersionKind, _namespace: str, name: str) -> Object:
        if (gvk.kind, name) not in self.objects:
            plural = gvk.kind.lower() + "s"
            raise NotFoundError(f'{plural} "{name}" not found')
        return self.objects[gvk.kind, name]

    async def token(self, _pod: Object, audience: str, seconds: int) -> str:
        return f"token for {audience or 'the API'}, {seconds} s"

    async def set_up(self, source: dict[str, Any], **spec: Any) -> Path:
        made = pod(volumes=[{"name": "data", **source}], **spec)
        return (await self.volumes.set_up(made, PLACE))["data"]

    async def fails(self, source: dict[str, Any]) -> str:
        with pytest.raises(VolumeSetUpError) as caught:
            await self.set_up(source)
        return str(caught.value)


def config_map(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


OF_CLAIM = {"persistentVolumeClaim": {"claimName": "data"}}
PVC = (
    "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to "
    "process volumes=[data]: error processing PVC default/data: "
)


@pytest.mark.parametrize(
    ("source", "objects", "text"),
    [
        pytest.param(
            {"configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}, [config_map()],
            'MountVolume.SetUp failed for volume "data" : configmap references non-existent config '
            "key: x", id="no such key",
        ),
        pytest.param(
            {"secret": {"secretName": "s"}}, [],
            'MountVolume.SetUp failed for volume "data" : secret "s" not found', id="no Secret",
        ),
        pytest.param(
            {"projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]}},
            [],
            'MountVolume.SetUp failed for volume "data" : [configmap "a" not found, secret "b" not '
            "found]", id="two sources are missing",
        ),
        pytest.param(
            OF_CLAIM, [],
            f'{PVC}failed to fetch PVC from API server: persistentvolumeclaims "data" not found',
            id="no claim",
        ),
        pytest.param(OF_CLAIM, [claim()], f"{PVC}PVC is not bound", id="no volume"),
        pytest.param(
            OF_CLAIM, [{**HELD, "metadata": {**HELD["metadata"], "deletionTimestamp": "x"}}],
            f"{PVC}PVC is being deleted", id="a claim that is going",
        ),
        pytest.param(
            OF_CLAIM, [HELD, volume(claimRef=given(claim("other")))],
            f'{PVC}PV "disk" spec.claimRef.UID "uid-other" does not match PVC.UID "uid-data"',
            id="another's volume",
        ),
        pytest.param(
            OF_CLAIM, [HELD, volume(claimRef=given(HELD), node="node-1")],
            'MountVolume.SetUp failed for volume "disk" : storage node affinity check failed: no '
            "matching NodeSelectorTerms", id="a volume of another node",
        ),
        pytest.param(
            OF_CLAIM, [HELD, volume(claimRef=given(HELD), local={"path": "/none"})],
            'MountVolume.SetUp failed for volume "disk" : path "/none" does not exist',
            id="a disk that is not there",
        ),
        pytest.param(
            OF_CLAIM, [HELD, volume(**{**LOCAL, "csi": {**LOCAL["csi"], "volumeHandle": "../x"}})],
            'MountVolume.SetUp failed for volume "disk" : invalid volumeHandle "../x"',
            id="a handle that leads out",
        ),
        pytest.param(
            {"nfs": {"server": "s", "path": "/"}}, [],
            'MountVolume.SetUp failed for volume "data" : volumes of type nfs are not supported by '
            "this node agent", id="network storage",
        ),
    ],
)  # fmt: skip
async def test_what_is_said_of_a_volume_that_cannot_be_had(
    tmp_path: Path, source: dict[str, Any], objects: list[Object], text: str
) -> None:
    assert await Node(tmp_path, *objects).fails(source) == text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Directory", "a directory"),
        ("Socket", "a socket file"),
        ("CharDevice", "a character device"),
        ("BlockDevice", "a block device"),
        ("DirectoryOrCreate", "a directory"),
    ],
)
def test_host_paths_are_what_they_are_said_to_be(tmp_path: Path, kind: str, words: str) -> None:
    file = tmp_path / "file"
    assert host_path({"path": str(file), "type": "FileOrCreate"}) == file
    with pytest.raises(VolumeError) as caught:
        host_path({"path": str(file), "type": kind})
    assert str(caught.value) == f"hostPath type check failed: {file} is not {words}"
    assert host_path({"path": str(tmp_path / "a/b")}).is_dir(), "no type: made as it is missing"


async def test_the_data_of_a_claim_outlives_the_pod(tmp_path: Path) -> None:
    node = Node(tmp_path, HELD, volume(**LOCAL))
    path = await node.set_up(OF_CLAIM)
    (path / "file").write_text("kept")
    node.volumes.remove("u")
    assert not node.volumes.pod_directory("u").exists()
    assert (await node.set_up(OF_CLAIM) / "file").read_text() == "kept"


async def test_an_empty_directory_stays_while_its_pod_does(tmp_path: Path) -> None:
    node = Node(tmp_path)
    sources: list[dict[str, Any]] = [{"emptyDir": {}}, {"emptyDir": {"medium": "Memory"}}]
    for source in sources:
        path = await node.set_up(source)
        assert path.stat().st_mode & 0o777 == 0o777
        (path / "file").write_text("here")
        assert await node.set_up(source) == path
        assert (path / "file").exists()
        in_memory = path.is_relative_to(node.memory)
        assert in_memory == (source["emptyDir"] != {})
    assert node.volumes.uids() == ["u"]
    node.volumes.remove("u")
    assert not path.exists()
    assert (node.volumes.uids(), list(node.memory.iterdir())) == ([], [])


async def test_a_token_is_for_its_audience(tmp_path: Path) -> None:
    part = {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}}
    path = await Node(tmp_path).set_up({"projected": {"sources": [part]}})
    assert (path / "t").read_text() == "token for vault, 600 s"


# Only root gives files to any group.
GROUP = 4321 if os.geteuid() == 0 else os.getgid()


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
async def test_the_pods_group_owns_its_volumes(tmp_path: Path) -> None:
    node = Node(tmp_path, config_map(a="1"), HELD, volume(**LOCAL))
    spec = {"securityContext": {"fsGroup": GROUP}}
    files = await node.set_up({"configMap": {"name": "c", "defaultMode": 0o400}}, **spec)
    found = (files / "a").stat()
    assert (found.st_gid, found.st_mode & 0o777) == (GROUP, 0o440)
    before = (files / "..data").readlink()
    await node.set_up({"configMap": {"name": "c", "defaultMode": 0o400}}, **spec)
    assert (files / "..data").readlink() == before, "nothing has changed"
    held = await node.set_up(OF_CLAIM, **spec)
    assert (held.stat().st_gid, held.stat().st_mode & 0o2070) == (GROUP, 0o2070)


@pytest.mark.usefixtures("as_root")
def test_links_are_not_followed_when_files_are_given_away(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    before = os.getgid()
    outside.mkdir(mode=0o700)
    (outside / "secret").touch(mode=0o600)
    inside.mkdir()
    (inside / "out").symlink_to(outside)
    (inside / "file").symlink_to(outside / "secret")
    give_to_group(inside, {"securityContext": {"fsGroup": GROUP}})
    assert inside.stat().st_gid == GROUP
    for path, mode in ((outside, 0o700), (outside / "secret", 0o600)):
        assert (path.stat().st_gid, path.stat().st_mode & 0o777) == (before, mode)


def test_a_link_that_a_container_left_is_not_followed(tmp_path: Path) -> None:
    outside, files = tmp_path / "outside", tmp_path / "files"
    outside.mkdir()
    (outside / "a").write_text("mine")
    for target in (outside, Path("../outside"), Path("..")):
        write_files(files, {"a": File(b"1")})
        (files / "..data").unlink()
        (files / "..data").symlink_to(target)
        assert write_files(files, {"a": File(b"2")})
        assert (files / "a").read_text() == "2"
        assert (outside / "a").read_text() == "mine"
    (files / "out").symlink_to(outside)
    remove_tree(files)
    assert not files.exists()
    assert (outside / "a").exists()


@pytest.mark.parametrize(
    ("volume_of", "wanted", "read_only"),
    [
        ({"configMap": {}}, {}, True),
        ({"secret": {}}, {"readOnly": False}, True),
        ({"emptyDir": {}}, {}, False),
        ({"emptyDir": {}}, {"readOnly": True}, True),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, {}, True),
    ],
)
def test_which_mounts_are_read_only(
    tmp_path: Path,
    volume_of: dict[str, Any],
    wanted: dict[str, Any],
    read_only: bool,
) -> None:
    mount = {"name": "v", "mountPath": "/m", "mountPropagation": "Bidirectional", **wanted}
    spec = {"volumes": [{"name": "v", **volume_of}]}
    (made,) = mounts(spec, {"name": "c", "volumeMounts": [mount]}, {"v": tmp_path}, {})
    assert made.readonly is read_only
    assert made.propagation == cri.PROPAGATION_BIDIRECTIONAL


def test_a_sub_path_is_mounted_where_it_was_found(tmp_path: Path) -> None:
    """A link in the volume may be turned elsewhere between the look and the mount."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mount = {"name": "v", "mountPath": "/m", "subPath": "link/deep"}
    (made,) = mounts({}, {"name": "c", "volumeMounts": [mount]}, {"v": tmp_path}, {})
    assert made.host_path == str(tmp_path / "real/deep")


@pytest.mark.parametrize(
    ("more", "done", "removed"),
    [
        ({"phase": "Released"}, True, True),
        ({"phase": "Released", "persistentVolumeReclaimPolicy": "Retain"}, True, False),
        ({"phase": "Bound"}, False, False),
        ({"phase": "Released", "deletionTimestamp": None}, False, False),
        ({"phase": "Released", "finalizers": ["other"]}, False, False),
    ],
    ids=["given back", "retained", "in use", "not deleted", "done already"],
)
def test_when_the_directory_of_a_volume_goes(
    more: dict[str, Any],
    done: bool,
    removed: bool,
) -> None:
    usual = {"persistentVolumeReclaimPolicy": "Delete", "finalizers": [storage.LOCAL_FINALIZER]}
    of = volume(**{**LOCAL, **usual, "deletionTimestamp": "2020-01-01T00:00:00Z", **more})
    assert local_volumes.is_done_with(of) is done
    assert local_volumes.is_to_be_removed(of) is removed


class Said:
    """An EventRecorder that only remembers."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def event(self, _pod: Object, _type: str, _reason: str, message: str) -> None:
        self.messages.append(message)


def test_a_pod_that_waits_for_long_is_told_for_what() -> None:
    said, memory = Said(), PodMemory(RestartBackoff(1, 2), RestartBackoff(1, 2))
    waits = pod(volumes=[{"name": "a"}, {"name": "b"}])
    for now_s in (5.0, 10.0, 128.0, 138.0):
        say_failed(cast("EventRecorder", said), waits, memory, "why", now_s)
    told = (
        "Unable to attach or mount volumes: unmounted volumes=[a b], unattached volumes=[], failed "
        "to process volumes=[]: timed out waiting for the condition"
    )
    assert said.messages == ["why", "why", "why", told, "why"]


async def test_a_pod_whose_volume_outgrows_its_limit_is_evicted(tmp_path: Path) -> None:
    assert size_bytes(tmp_path / "not yet") == 0
    node = Node(tmp_path)
    full = pod(
        volumes=[
            {"name": "small", "emptyDir": {"sizeLimit": "64Ki"}},
            {"name": "any", "emptyDir": {}},
        ]
    )
    paths = await node.volumes.set_up(full, PLACE)
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    (paths["small"] / "link").symlink_to(tmp_path / "large")
    (paths["any"] / "large").write_bytes(b"x" * 100_000)
    limits, memory = size_limits(full), PodMemory(RestartBackoff(1, 2), RestartBackoff(1, 2))
    assert limits == {"small": "64Ki"}
    assert await check_limits(node.volumes, full, memory, limits, 100.0) is None
    (paths["small"] / "deep").mkdir()
    (paths["small"] / "deep/large").write_bytes(b"x" * 100_000)
    assert await check_limits(node.volumes, full, memory, limits, 105.0) is None, "every 10 s"
    assert await check_limits(node.volumes, full, memory, limits, 110.0) == Waiting(
        "Evicted", 'Usage of EmptyDir volume "small" exceeds the limit "64Ki". '
    )
