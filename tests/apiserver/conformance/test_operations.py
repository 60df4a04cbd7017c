"""Every operation on every kind whose conformance test is that."""

from __future__ import annotations

import copy

import pytest

from kubraft.api.object import Object, annotations_of
from tests.apiserver.conformance.cluster import Cluster
from tests.apiserver.conformance.held import conforms
from tests.apiserver.conformance.operations import ROWS, Operations

pytestmark = pytest.mark.asyncio(loop_scope="session")


@conforms(*(name for row in ROWS for name in row.names))
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row.gvk.kind}.{row.gvk.group}") for row in ROWS]
)
async def test_a_kind_has_every_operation(cluster: Cluster, row: Operations) -> None:
    await _discovered(cluster, row)
    namespace = ""
    if row.namespaced:
        namespace = (await cluster.namespace()).rpartition("/")[2]
    path = f"{row.root}/namespaces/{namespace}/{row.plural}" if namespace else _all(row)
    labels = {"story": cluster.name("operations")}
    chosen = f"labelSelector=story%3D{labels['story']}"

    listed = await cluster.get(f"{path}?{chosen}")
    assert listed["items"] == []
    version = listed["metadata"]["resourceVersion"]
    made = [await cluster.create(path, _named(cluster, row, namespace, labels)) for _ in range(3)]
    name = made[0]["metadata"]["name"]
    read = await cluster.get(f"{path}/{name}")
    assert _kept(read, row) == _kept(made[0], row)
    assert len(await cluster.items(f"{path}?{chosen}")) == 3
    assert len(await cluster.items(f"{_all(row)}?{chosen}")) == 3

    async with cluster.watching(f"{path}?{chosen}&resourceVersion={version}") as events:
        added = [await events.until("ADDED") for _ in made]
        assert {o["metadata"]["uid"] for o in added} == {o["metadata"]["uid"] for o in made}
        patch = {"metadata": {"annotations": {"patched": "true"}}}
        patched = await cluster.patch(f"{path}/{name}", patch)
        assert patched["metadata"]["annotations"]["patched"] == "true"
        updated = await cluster.annotate(f"{path}/{name}", "updated")
        assert updated["metadata"]["annotations"]["updated"] == "true"
        await events.until("MODIFIED", lambda o: "updated" in annotations_of(o))
        if row.status is not None:
            await _status(cluster, row, f"{path}/{name}/status")
        for each in made:  # as the controllers that protect claims and volumes would
            if each["metadata"].get("finalizers"):
                one = f"{path}/{each['metadata']['name']}"
                await cluster.patch(one, {"metadata": {"finalizers": None}})
        await cluster.delete(f"{path}/{name}")
        assert (await events.until("DELETED"))["metadata"]["name"] == name
        assert len(await cluster.items(f"{path}?{chosen}")) == 2
        await cluster.delete(f"{path}?{chosen}")
        assert await cluster.items(f"{path}?{chosen}") == []
        gone = {(await events.until("DELETED"))["metadata"]["name"] for _ in range(2)}
        assert gone == {o["metadata"]["name"] for o in made[1:]}
    await cluster.gone(f"{path}/{name}")


async def _discovered(cluster: Cluster, row: Operations) -> None:
    gvk = row.gvk
    if gvk.group:
        groups = {g["name"]: g for g in (await cluster.get("/apis"))["groups"]}
        assert gvk.version in [v["version"] for v in groups[gvk.group]["versions"]]
        alone = await cluster.get(f"/apis/{gvk.group}")
        assert gvk.api_version in [v["groupVersion"] for v in alone["versions"]]
    rows = {r["name"]: r for r in (await cluster.get(row.root))["resources"]}
    assert (rows[row.plural]["kind"], rows[row.plural]["namespaced"]) == (gvk.kind, row.namespaced)
    assert row.status is None or f"{row.plural}/status" in rows


async def _status(cluster: Cluster, row: Operations, path: str) -> None:
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": row.status}
    patched = await cluster.patch(path, patch)
    _includes(patched["status"], row.status)
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"
    read = await cluster.get(path)
    _includes(read["status"], row.status)
    updated = await cluster.annotate(path, "statusupdated")
    assert updated["metadata"]["annotations"]["statusupdated"] == "true"
    _includes(updated["status"], row.status)
    assert updated.get("spec") == read.get("spec")


def _includes(status: Object, wanted: Object | None) -> None:
    """The server itself may add conditions meanwhile."""
    for name, value in (wanted or {}).items():
        found = status[name]
        assert all(each in found for each in value) if isinstance(value, list) else found == value


def _named(cluster: Cluster, row: Operations, namespace: str, labels: dict[str, str]) -> Object:
    obj = copy.deepcopy(row.obj)
    obj["metadata"] = {"name": _name(cluster, row), "labels": labels}
    for field in ("involvedObject", "regarding"):  # an Event is where its object is
        if field in obj:
            obj[field]["namespace"] = namespace
    return obj


def _name(cluster: Cluster, row: Operations) -> str:
    number = cluster.name("e2e")
    if row.gvk.kind == "IPAddress":
        return f"10.97.0.{number.rpartition('-')[2]}"
    return f"{number}.example.com" if row.gvk.kind == "CSIDriver" else number


def _all(row: Operations) -> str:
    return f"{row.root}/{row.plural}"


def _kept(obj: Object, row: Operations) -> Object:
    """What does not change by itself: a server's own loop writes the status of flow schemas."""
    return {
        "uid": obj["metadata"]["uid"],
        **{k: v for k, v in obj.items() if k not in ("metadata", "status") or row.namespaced},
        "metadata": obj["metadata"]["name"],
        "status": None,
    }
