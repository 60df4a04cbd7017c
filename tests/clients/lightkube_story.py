"""lightkube: typed models, patches, a watch, and a kind that it knows by name only."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType


@pytest.fixture
def client(kubeconfig: str, namespace: str) -> Client:
    return Client(config=KubeConfig.from_file(kubeconfig), namespace=namespace)


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"of": "test"}), data=data)


def test_objects_come_and_go(client: Client) -> None:
    client.create(config_map("a", k="v"))
    found = client.get(ConfigMap, "a")
    assert found.data == {"k": "v"}
    found.data = {"k": "w"}
    assert client.replace(found).data == {"k": "w"}
    with pytest.raises(ApiError) as conflict:
        client.replace(found)
    assert conflict.value.status.reason == "Conflict"
    patched = client.patch(ConfigMap, "a", {"data": {"l": "x"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"k": "w", "l": "x"}
    named = [each.metadata and each.metadata.name for each in client.list(ConfigMap)]
    assert named == ["a"]
    client.delete(ConfigMap, "a")
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "a")
    assert missing.value.status.code == 404


def test_pod_is_completed_by_the_server(client: Client) -> None:
    spec = PodSpec(containers=[Container(name="c", image="kubraft/web:1")])
    made = client.create(Pod(metadata=ObjectMeta(name="p"), spec=spec))
    assert made.spec
    assert made.spec.restartPolicy == "Always"
    assert made.status
    assert made.status.phase == "Pending"


def test_list_in_pages_and_by_label(client: Client) -> None:
    for number in range(5):
        client.create(config_map(f"c{number}"))
    listed = client.list(ConfigMap, labels={"of": "test"}, chunk_size=2)
    assert len([each for each in listed]) == 5  # noqa: C416 - an iterator over pages
    assert not [each for each in client.list(ConfigMap, labels={"of": "else"})]  # noqa: C416


def test_watch(client: Client) -> None:
    seen: list[Any] = []
    listed = client.list(ConfigMap)
    assert not [each for each in listed]  # noqa: C416 - an iterator over pages

    def follow() -> None:
        for kind, each in client.watch(
            ConfigMap, server_timeout=60, resource_version=listed.resourceVersion
        ):
            seen.append((kind, each.metadata and each.metadata.name))
            if len(seen) == 2:
                break

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    client.create(config_map("a"))
    client.patch(ConfigMap, "a", {"data": {"k": "v"}})
    following.join(60)
    assert seen[0] == ("ADDED", "a")
    assert len(seen) == 2
    assert seen[1] == ("MODIFIED", "a")


def test_generic_resource(client: Client) -> None:
    leases = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
    client.create(leases(metadata=ObjectMeta(name="l"), spec={"holderIdentity": "me"}))
    assert client.get(leases, "l").spec == {"holderIdentity": "me"}
