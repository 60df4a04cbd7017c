"""Namespaces, watches, pages, tables, discovery."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import Cluster, eventually
from tests.apiserver.conformance.definitions import custom, define
from tests.apiserver.conformance.held import conforms
from tests.apiserver.registry.kind_cases import POD_SPEC, thing

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF = "[sig-api-machinery] "
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@conforms(
    f"{OF}Namespaces [Serial] should patch a Namespace",
    f"{OF}Namespaces [Serial] should apply an update to a Namespace",
    f"{OF}Namespaces [Serial] should apply changes to a namespace status",
    f"{OF}Namespaces [Serial] should apply a finalizer to a Namespace",
)
async def test_a_namespace_is_changed_in_all_its_parts(cluster: Cluster) -> None:
    name = (await cluster.namespace()).rpartition("/")[2]
    path = f"/api/v1/namespaces/{name}"
    patched = await cluster.patch(path, {"metadata": {"labels": {"a": "b"}}}, "strategic")
    assert patched["metadata"]["labels"]["a"] == "b"
    patched["metadata"]["labels"]["c"] = "d"
    assert (await cluster.update(path, patched))["metadata"]["labels"]["c"] == "d"

    read = await cluster.get(f"{path}/status")
    assert read["status"] == {"phase": "Active"}
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched"}
    patched = await cluster.patch(f"{path}/status", {"status": {"conditions": [condition]}})
    assert patched["status"]["conditions"][0].items() >= condition.items()
    patched["status"]["conditions"].append({**condition, "type": "StatusUpdate"})
    updated = await cluster.update(f"{path}/status", patched)
    assert [c["type"] for c in updated["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]

    wanted = [*updated["spec"]["finalizers"], "e2e.example.com/fakeFinalizer"]
    updated["spec"]["finalizers"] = wanted
    updated = await cluster.update(f"{path}/finalize", updated)
    assert updated["spec"]["finalizers"] == wanted
    updated["spec"]["finalizers"] = wanted[:-1]
    assert (await cluster.update(f"{path}/finalize", updated))["spec"]["finalizers"] == wanted[:-1]


@conforms(f"{OF}ResourceQuota should apply changes to a resourcequota status")
async def test_the_status_of_a_quota_is_written_by_itself(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/resourcequotas"
    hard = {"cpu": "500m", "memory": "500Mi"}
    await cluster.create(path, thing("v1", "ResourceQuota", "q", spec={"hard": hard}))
    made = await cluster.get(f"{path}/q/status")
    made["status"]["hard"] = hard
    made = await cluster.update(f"{path}/q/status", made)
    assert made["status"]["hard"] == hard
    more = {"cpu": "1", "memory": "1Gi"}
    made = await cluster.patch(f"{path}/q", {"spec": {"hard": more}})
    assert made["spec"]["hard"] == more
    made = await cluster.patch(f"{path}/q/status", {"status": {"hard": more}})
    assert made["status"]["hard"] == more
    patch = {"spec": {"hard": hard}, "status": {"hard": {**more, "cpu": "2"}}}
    made = await cluster.patch(f"{path}/q/status", patch)
    assert made["status"]["hard"]["cpu"] == "2"
    assert made["spec"]["hard"] == more


async def _templates(cluster: Cluster, count: int) -> str:
    path = f"{await cluster.namespace()}/podtemplates"
    made = [
        thing("v1", "PodTemplate", f"t-{i:03}", template={"spec": POD_SPEC}) for i in range(count)
    ]
    await asyncio.gather(*(cluster.create(path, each) for each in made))
    return path


@conforms(
    f"{OF}Servers with support for API chunking should return chunks of results for list calls"
)
async def test_a_list_comes_in_chunks_of_one_moment(cluster: Cluster) -> None:
    path = await _templates(cluster, 40)
    seen: list[str] = []
    token, version = "", ""
    for left in (23, 6, None):
        page = await cluster.get(f"{path}?limit=17&continue={token}")
        version = version or page["metadata"]["resourceVersion"]
        assert page["metadata"]["resourceVersion"] == version
        assert page["metadata"].get("remainingItemCount") == left
        token = page["metadata"].get("continue", "")
        seen += [item["metadata"]["name"] for item in page["items"]]
    assert token == ""
    assert seen == [f"t-{i:03}" for i in range(40)]
    whole = await cluster.get(path)
    assert len(whole["items"]) == 40
    assert "continue" not in whole["metadata"]


@conforms(
    f"{OF}Servers with support for API chunking should support continue listing from the last "
    "key if the original version has been compacted away, though the list is inconsistent [Slow]"
)
async def test_a_list_goes_on_after_its_moment_is_gone(cluster: Cluster) -> None:
    path = await _templates(cluster, 12)
    first = await cluster.get(f"{path}?limit=5")
    # The cache cannot stand in for the history: the objects are others by now.
    await cluster.create(path, thing("v1", "PodTemplate", "t-900", template={"spec": POD_SPEC}))
    store = cluster.served.store
    await store.compact(await store.revision())
    answer = await cluster.ask("GET", f"{path}?limit=5&continue={first['metadata']['continue']}")
    assert answer.status == 410
    status = answer.json()
    assert status["reason"] == "Expired"
    token = status["metadata"]["continue"]
    second = await cluster.get(f"{path}?limit=5&continue={token}")
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 3
    third = await cluster.get(f"{path}?limit=5&continue={second['metadata']['continue']}")
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    names = [item["metadata"]["name"] for page in (first, second, third) for item in page["items"]]
    assert names == [*(f"t-{i:03}" for i in range(12)), "t-900"]


@conforms(
    f"{OF}Servers with support for Table transformation should return a 406 for a backend which "
    "does not implement metadata"
)
async def test_a_review_is_no_table(cluster: Cluster) -> None:
    spec = {"nonResourceAttributes": {"path": "/", "verb": "get"}}
    review = thing("authorization.k8s.io/v1", "SelfSubjectAccessReview", spec=spec)
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await cluster.ask("POST", path, review, accept=TABLE)
    assert answer.status == 406


@conforms(f"{OF}server version should find the server version")
async def test_the_version_has_numbers(cluster: Cluster) -> None:
    version = await cluster.get("/version")
    assert version["major"].isdigit()
    assert version["minor"].isdigit()


@conforms(
    f"{OF}Discovery should locate the groupVersion and a resource within each APIGroup",
    f"{OF}Discovery should validate PreferredVersion for each APIGroup",
    f"{OF}AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in "
    "discovery documents",
    f"{OF}CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom "
    "resource definition resources in discovery documents",
)
async def test_every_group_leads_to_its_resources(cluster: Cluster) -> None:
    found: dict[str, list[str]] = {}
    for group in (await cluster.get("/apis"))["groups"]:
        versions = [v["groupVersion"] for v in group["versions"]]
        assert group["preferredVersion"] in group["versions"]
        alone = await cluster.get(f"/apis/{group['name']}")
        assert alone["preferredVersion"]["groupVersion"] in versions
        for version in versions:
            listed = await cluster.get(f"/apis/{version}")
            assert listed["groupVersion"] == version
            found[version] = [r["name"] for r in listed["resources"]]
            assert found[version]
    admission = found["admissionregistration.k8s.io/v1"]
    hooks = {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    assert hooks <= set(admission)
    assert "customresourcedefinitions" in found["apiextensions.k8s.io/v1"]


@conforms(
    f"{OF}AggregatedDiscovery should support aggregated discovery interface",
    f"{OF}AggregatedDiscovery should support aggregated discovery interface for CRDs",
    f"{OF}AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers",
    f"{OF}AggregatedDiscovery should support raw aggregated discovery request for CRDs",
)
@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_discovery_comes_as_one_document(cluster: Cluster, version: str) -> None:
    made = await define(cluster, custom(cluster))
    accept = AGGREGATED.replace("v=v2", f"v={version}")
    for path, wanted in (
        ("/api", ("", "v1", "pods")),
        ("/apis", ("apps", "v1", "deployments")),
        ("/apis", (made.group, "v1", made.plural)),
    ):

        async def listed(path: str = path, wanted: Any = wanted) -> bool:
            answer = await cluster.ask("GET", path, accept=accept)
            assert answer.status == 200
            assert f"v={version}" in answer.headers["content-type"]
            document = answer.json()
            assert document["kind"] == "APIGroupDiscoveryList"
            return wanted in [
                (group["metadata"].get("name", ""), each["version"], resource["resource"])
                for group in document["items"]
                for each in group["versions"]
                for resource in each["resources"]
            ]

        assert await eventually(listed)


async def _maps(cluster: Cluster) -> str:
    return f"{await cluster.namespace()}/configmaps"


def _map(name: str, **labels: str) -> Object:
    obj = thing("v1", "ConfigMap", name, data={"mutation": "0"})
    obj["metadata"]["labels"] = labels
    return obj


async def _mutate(cluster: Cluster, path: str, value: str) -> Object:
    return await cluster.patch(path, {"data": {"mutation": value}})


@conforms(f"{OF}Watchers should observe add, update, and delete watch notifications on configmaps")
async def test_watchers_see_what_they_select(cluster: Cluster) -> None:
    path = await _maps(cluster)
    async with (
        cluster.watching(f"{path}?labelSelector=w%3Da") as only_a,
        cluster.watching(f"{path}?labelSelector=w%3Db") as only_b,
        cluster.watching(f"{path}?labelSelector=w+in+%28a%2Cb%29") as both,
    ):
        for label in "ab":
            await cluster.create(path, _map(f"m-{label}", w=label))
            await _mutate(cluster, f"{path}/m-{label}", "1")
            await cluster.delete(f"{path}/m-{label}")
        for events, count in ((only_a, 3), (only_b, 3), (both, 6)):
            seen = [(await events.next())[0] for _ in range(count)]
            assert seen == ["ADDED", "MODIFIED", "DELETED"] * (count // 3)
    assert {o["metadata"]["name"] for _, o in only_a.seen} == {"m-a"}
    assert {o["metadata"]["name"] for _, o in only_b.seen} == {"m-b"}


@conforms(
    f"{OF}Watchers should be able to start watching from a specific resource version",
    f"{OF}Watchers should be able to restart watching from the last resource version observed by "
    "the previous watch",
)
async def test_a_watch_begins_where_it_is_told_to(cluster: Cluster) -> None:
    path = await _maps(cluster)
    await cluster.create(path, _map("m"))
    first = await _mutate(cluster, f"{path}/m", "1")
    await _mutate(cluster, f"{path}/m", "2")
    await cluster.delete(f"{path}/m")
    version = first["metadata"]["resourceVersion"]
    async with cluster.watching(f"{path}?resourceVersion={version}") as events:
        assert (await events.next())[1]["data"]["mutation"] == "2"
        type_, last = await events.next()
        assert type_ == "DELETED"
    version = last["metadata"]["resourceVersion"]
    await cluster.create(path, _map("n"))
    async with cluster.watching(f"{path}?resourceVersion={version}") as events:
        assert (await events.next())[1]["metadata"]["name"] == "n"


@conforms(
    f"{OF}Watchers should observe an object deletion if it stops meeting the requirements of the "
    "selector"
)
async def test_an_object_that_leaves_the_selection_is_deleted(cluster: Cluster) -> None:
    path = await _maps(cluster)
    async with cluster.watching(f"{path}?labelSelector=w%3Da") as events:
        await cluster.create(path, _map("m", w="a"))
        await _mutate(cluster, f"{path}/m", "1")
        await cluster.patch(f"{path}/m", {"metadata": {"labels": {"w": "b"}}})
        await _mutate(cluster, f"{path}/m", "2")
        await cluster.patch(f"{path}/m", {"metadata": {"labels": {"w": "a"}}})
        await _mutate(cluster, f"{path}/m", "3")
        await cluster.delete(f"{path}/m")
        seen = [await events.next() for _ in range(6)]
    types = ["ADDED", "MODIFIED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
    assert [type_ for type_, _ in seen] == types
    assert [obj["data"]["mutation"] for _, obj in seen] == ["0", "1", "1", "2", "3", "3"]


@conforms(f"{OF}Watchers should receive events on concurrent watches in same order")
async def test_all_watches_tell_the_same_story(cluster: Cluster) -> None:
    path = await _maps(cluster)
    start = (await cluster.get(path))["metadata"]["resourceVersion"]

    async def write() -> None:
        for number in range(10):
            await cluster.create(path, _map(f"m-{number}"))
            await _mutate(cluster, f"{path}/m-{number}", "1")
            if number % 2:
                await cluster.delete(f"{path}/m-{number}")

    writing = asyncio.create_task(write())
    async with cluster.watching(f"{path}?resourceVersion={start}") as events:
        whole = [(await events.next())[1]["metadata"]["resourceVersion"] for _ in range(25)]
    await writing
    assert whole == sorted(whole, key=int)
    for index in range(0, 25, 6):
        async with cluster.watching(f"{path}?resourceVersion={whole[index]}") as events:
            later = [
                (await events.next())[1]["metadata"]["resourceVersion"] for _ in whole[index + 1 :]
            ]
        assert later == whole[index + 1 :]
