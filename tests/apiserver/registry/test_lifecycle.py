"""Create, update, delete: what happens to metadata, status, finalizers and claims on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apiserver.registry.call import DeleteOptions, WriteOptions
from apiserver.registry.patches import change_of
from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
)
from kubraft.api.gvk import CONFIG_MAP, NAMESPACE, NODE, POD, SERVICE, GroupVersionKind
from kubraft.api.object import Object
from tests.apiserver.harness import Bench, deployment, pod, service, simple

CLUSTER_NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


async def delete(
    bench: Bench, gvk: GroupVersionKind, name: str, **options: Any
) -> tuple[Object, bool]:
    written = await bench.registry.delete(bench.call(gvk, name), DeleteOptions(**options))
    return written.entry.decode(), written.gone


async def patch(
    bench: Bench, gvk: GroupVersionKind, name: str, merge: dict[str, Any], sub: str = ""
) -> Object:
    call = bench.call(gvk, name, sub=sub)
    written = await bench.registry.patch(call, change_of("", merge), WriteOptions())
    return written.entry.decode()


async def bound_pod(bench: Bench, name: str = "web", **spec: Any) -> Object:
    await bench.create(pod(name, **spec))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"kind": "Node", "name": "node-0"},
    }
    await bench.registry.bind(bench.call(POD, name), binding, WriteOptions())
    return await bench.get(POD, name)


async def test_the_server_sets_identity_and_ignores_what_clients_claim(bench: Bench) -> None:
    obj = pod()
    obj["metadata"] |= {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"}
    obj["status"] = {"phase": "Running"}
    created = await bench.create(obj)
    assert created["metadata"]["uid"] != "mine"
    assert created["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert created["status"]["phase"] == "Pending"
    assert created["metadata"]["resourceVersion"]


async def test_names_are_generated_until_one_is_free(bench: Bench) -> None:
    obj = pod()
    del obj["metadata"]["name"]
    obj["metadata"]["generateName"] = "web-"
    names = {(await bench.create(obj))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_second_create_names_the_object(bench: Bench) -> None:
    await bench.create(deployment())
    with pytest.raises(AlreadyExistsError, match='deployments.apps "web" already exists'):
        await bench.create(deployment())


async def test_of_concurrent_updates_at_one_version_one_wins(bench: Bench) -> None:
    created = await bench.create(simple("ConfigMap"))
    results = await asyncio.gather(
        *(bench.update({**created, "data": {"n": str(i)}}) for i in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(r, dict) for r in results) == 1
    conflict = next(r for r in results if isinstance(r, ConflictError))
    assert conflict.message == (
        'Operation cannot be fulfilled on configmaps "x": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_concurrent_patches_all_take_effect(bench: Bench) -> None:
    await bench.create(simple("ConfigMap"))
    await asyncio.gather(
        *(patch(bench, CONFIG_MAP, "x", {"data": {f"k{i}": "v"}}) for i in range(16))
    )
    assert len((await bench.get(CONFIG_MAP, "x"))["data"]) == 16


async def test_an_update_without_change_writes_nothing(bench: Bench) -> None:
    created = await bench.create(pod())
    assert await bench.update(created) == created
    assert await patch(bench, POD, "web", {"metadata": {"labels": None}}) == created


async def test_spec_and_status_are_written_apart(bench: Bench) -> None:
    await bench.create(deployment())
    gvk = GroupVersionKind("apps", "v1", "Deployment")
    both = {"spec": {"replicas": 5}, "status": {"replicas": 3}}
    updated = await patch(bench, gvk, "web", both)
    assert (updated["spec"]["replicas"], updated["status"]) == (5, {})
    assert updated["metadata"]["generation"] == 2
    updated = await patch(bench, gvk, "web", {**both, "spec": {"replicas": 7}}, "status")
    assert (updated["spec"]["replicas"], updated["status"]) == (5, {"replicas": 3})
    assert updated["metadata"]["generation"] == 2


async def test_uid_of_another_object_is_a_conflict(bench: Bench) -> None:
    created = await bench.create(simple("ConfigMap"))
    created["metadata"] = {"name": "x", "namespace": "default", "uid": "other"}
    with pytest.raises(ConflictError, match="Precondition failed: UID in precondition: other"):
        await bench.update(created)


async def test_dry_run_shows_and_does_not_write(bench: Bench) -> None:
    shown = await bench.create(pod(), dry_run=True)
    assert shown["spec"]["restartPolicy"] == "Always"
    with pytest.raises(NotFoundError, match='pods "web" not found'):
        await bench.get(POD, "web")
    await bench.create(simple("ConfigMap"))
    await bench.registry.delete(bench.call(CONFIG_MAP, "x"), DeleteOptions(dry_run=True))
    assert await bench.get(CONFIG_MAP, "x")


async def test_a_pod_without_node_is_deleted_at_once(bench: Bench) -> None:
    await bench.create(pod())
    _, gone = await delete(bench, POD, "web")
    assert gone
    with pytest.raises(NotFoundError):
        await bench.get(POD, "web")


async def test_a_running_pod_gets_its_grace_period(bench: Bench) -> None:
    await bound_pod(bench, terminationGracePeriodSeconds=20)
    last, gone = await delete(bench, POD, "web")
    assert not gone
    assert last["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:25Z"
    assert last["metadata"]["deletionGracePeriodSeconds"] == 20
    again, _ = await delete(bench, POD, "web")
    assert again["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]
    longer, _ = await delete(bench, POD, "web", grace_period_s=99)
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 20
    shorter, _ = await delete(bench, POD, "web", grace_period_s=5)
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:10Z"
    _, gone = await delete(bench, POD, "web", grace_period_s=0)
    assert gone


async def test_a_finished_pod_is_deleted_at_once(bench: Bench) -> None:
    await bound_pod(bench)
    await patch(bench, POD, "web", {"status": {"phase": "Succeeded"}}, "status")
    assert (await delete(bench, POD, "web"))[1]


async def test_finalizers_keep_an_object_until_the_last_is_gone(bench: Bench) -> None:
    obj = simple("ConfigMap")
    obj["metadata"]["finalizers"] = ["a.io/x", "a.io/y"]
    await bench.create(obj)
    _, gone = await delete(bench, CONFIG_MAP, "x")
    assert not gone
    with pytest.raises(InvalidError, match="no new finalizers can be added"):
        await patch(bench, CONFIG_MAP, "x", {"metadata": {"finalizers": ["a.io/x", "b.io/z"]}})
    await patch(bench, CONFIG_MAP, "x", {"metadata": {"finalizers": ["a.io/x"]}})
    await patch(bench, CONFIG_MAP, "x", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFoundError):
        await bench.get(CONFIG_MAP, "x")


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [
        pytest.param("Foreground", ["foregroundDeletion"], id="foreground"),
        pytest.param("Orphan", ["orphan"], id="orphan"),
    ],
)
async def test_propagation_is_left_to_the_garbage_collector(
    bench: Bench, policy: str, finalizers: list[str]
) -> None:
    await bench.create(simple("ConfigMap"))
    last, gone = await delete(bench, CONFIG_MAP, "x", propagation=policy)
    assert not gone
    assert last["metadata"]["finalizers"] == finalizers


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"uid": "other"}, ConflictError, id="uid"),
        pytest.param({"resource_version": "1"}, ConflictError, id="resource version"),
        pytest.param({"propagation": "Sideways"}, BadRequestError, id="propagation"),
        pytest.param({"grace_period_s": -1}, BadRequestError, id="negative grace"),
    ],
)
async def test_delete_with_wrong_options_is_refused(
    bench: Bench, options: dict[str, Any], error: type[ApiError]
) -> None:
    await bench.create(simple("ConfigMap"))
    with pytest.raises(error):
        await delete(bench, CONFIG_MAP, "x", **options)
    assert await bench.get(CONFIG_MAP, "x")


async def test_a_namespace_ends_when_its_controller_lets_it(bench: Bench) -> None:
    await bench.create(CLUSTER_NAMESPACE)
    last, gone = await delete(bench, NAMESPACE, "n")
    assert (gone, last["status"]["phase"]) == (False, "Terminating")
    last["spec"]["finalizers"] = []
    await bench.update(last, "finalize")
    with pytest.raises(NotFoundError, match='namespaces "n" not found'):
        await bench.get(NAMESPACE, "n")


async def test_an_update_cannot_take_a_namespaces_finalizer(bench: Bench) -> None:
    created = await bench.create(CLUSTER_NAMESPACE)
    created["spec"] = {}
    assert (await bench.update(created))["spec"] == {"finalizers": ["kubernetes"]}


async def test_a_pod_is_bound_once(bench: Bench) -> None:
    bound = await bound_pod(bench)
    assert bound["spec"]["nodeName"] == "node-0"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(ConflictError, match='pod web is already assigned to node "node-0"'):
        await bound_pod_again(bench)


async def bound_pod_again(bench: Bench) -> None:
    binding = {"metadata": {"name": "web"}, "target": {"name": "node-1"}}
    await bench.registry.bind(bench.call(POD, "web"), binding, WriteOptions())


async def test_services_get_addresses_of_their_own(bench: Bench) -> None:
    made = await asyncio.gather(*(bench.create(service(f"s{i}")) for i in range(40)))
    addresses = {s["spec"]["clusterIP"] for s in made}
    assert len(addresses) == 40
    assert all(address.startswith("10.96.") for address in addresses)


async def test_an_address_is_given_back_and_can_be_had_again(bench: Bench) -> None:
    first = await bench.create(service("a", clusterIP="10.96.0.10"))
    with pytest.raises(InvalidError, match="provided IP is already allocated"):
        await bench.create(service("b", clusterIP="10.96.0.10"))
    await delete(bench, SERVICE, "a")
    second = await bench.create(service("b", clusterIP="10.96.0.10"))
    assert first["spec"]["clusterIP"] == second["spec"]["clusterIP"]


async def test_node_ports_come_and_go_with_the_type(bench: Bench) -> None:
    made = await bench.create(service("a", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    taken = service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    with pytest.raises(InvalidError, match="provided port is already allocated"):
        await bench.create(taken)
    made["spec"]["type"] = "ClusterIP"
    made = await bench.update(made)
    assert "nodePort" not in made["spec"]["ports"][0]
    assert (await bench.create(taken))["spec"]["ports"][0]["nodePort"] == port


async def test_an_update_may_leave_out_the_allocated_address(bench: Bench) -> None:
    made = await bench.create(service("a"))
    again = service("a", selector={"app": "x"})
    again["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert (await bench.update(again))["spec"]["clusterIP"] == made["spec"]["clusterIP"]


async def test_a_node_registers_with_its_status(bench: Bench) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-0"},
        "status": {"capacity": {"cpu": "2000m"}},
    }
    created = await bench.create(node)
    assert created["status"]["allocatable"] == {"cpu": "2"}
    assert (await bench.get(NODE, "node-0"))["status"] == created["status"]


async def test_json_patch_changes_lists_in_place(bench: Bench) -> None:
    await bench.create(pod())
    operations = b'[{"op":"replace","path":"/spec/containers/0/image","value":"i:2"}]'
    change = change_of("application/json-patch+json", operations)
    written = await bench.registry.patch(bench.call(POD, "web"), change, WriteOptions())
    assert written.entry.decode()["spec"]["containers"][0]["image"] == "i:2"


@pytest.mark.parametrize(
    ("patch_type", "body"),
    [
        pytest.param("", b"[]", id="merge patch that is a list"),
        pytest.param("", b"{", id="no JSON"),
        pytest.param("application/json-patch+json", b"{}", id="JSON patch that is no list"),
        pytest.param("application/json-patch+json", b"[1]", id="operation that is none"),
        pytest.param(
            "application/json-patch+json",
            b'[{"op":"test","path":"/x","value":1}]',
            id="failed test",
        ),
        pytest.param("text/plain", b"{}", id="unknown type"),
        pytest.param("", b'{"metadata":null}', id="takes metadata away"),
        pytest.param("", b'{"kind":"Other"}', id="another kind"),
        pytest.param("", b'{"metadata":{"name":"other"}}', id="another name"),
    ],
)
async def test_a_bad_patch_changes_nothing(bench: Bench, patch_type: str, body: bytes) -> None:
    created = await bench.create(pod())
    call = bench.call(POD, "web")
    with pytest.raises(ApiError):
        await bench.registry.patch(call, change_of(patch_type, body), WriteOptions())
    assert await bench.get(POD, "web") == created


async def test_writes_fail_with_the_stores_own_words(bench: Bench) -> None:
    bench.store.unavailable = "etcdserver: no leader: quorum lost"  # type: ignore[attr-defined]
    with pytest.raises(ApiError, match="etcdserver: no leader: quorum lost") as error:
        await bench.create(pod())
    assert error.value.code == 503
    bench.store.unavailable = ""  # type: ignore[attr-defined]
    await bench.create(pod())
