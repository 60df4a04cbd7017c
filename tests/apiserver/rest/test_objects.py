"""All verbs over HTTPS, as clients without a library see them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.apiserver.harness import deployment, pod, service, simple
from tests.apiserver.rest.conftest import Rest
from tests.apiserver.schema.test_protobuf import body, entry, message

CMS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE = "application/merge-patch+json"


async def test_an_object_lives_from_create_to_delete(rest: Rest) -> None:
    made = await rest.ask("POST", CMS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    assert made.status == 201
    obj = made.json()
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
    assert (await rest.ask("GET", f"{CMS}/c")).json() == obj
    obj["data"]["a"] = "2"
    put = await rest.ask("PUT", f"{CMS}/c", obj)
    assert (put.status, put.json()["data"]) == (200, {"a": "2"})
    stale = await rest.ask("PUT", f"{CMS}/c", obj)
    assert (stale.status, stale.json()["reason"]) == (409, "Conflict")
    patched = await rest.ask("PATCH", f"{CMS}/c", {"data": {"b": "3"}}, kind=MERGE)
    assert patched.json()["data"] == {"a": "2", "b": "3"}
    gone = (await rest.ask("DELETE", f"{CMS}/c")).json()
    assert (gone["status"], gone["details"]["name"]) == ("Success", "c")
    missing = await rest.ask("GET", f"{CMS}/c")
    assert (missing.status, missing.json()["message"]) == (404, 'configmaps "c" not found')


async def test_a_pod_that_is_deleted_is_returned(rest: Rest) -> None:
    await rest.ask("POST", "/api/v1/namespaces/default/pods", pod("p"))
    gone = await rest.ask("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0")
    assert (gone.status, gone.json()["kind"]) == (200, "Pod")


@pytest.mark.parametrize(
    ("kind", "patch", "status"),
    [
        ("application/json-patch+json", [{"op": "add", "path": "/data/b", "value": "2"}], 200),
        (MERGE, {"data": {"b": "2"}}, 200),
        ("application/strategic-merge-patch+json", {"data": {"b": "2"}}, 200),
        ("application/strategic-merge-patch+json", [], 400),
        ("application/json", {"data": {"b": "2"}}, 415),
        ("application/apply-patch+yaml", {"data": {"b": "2"}}, 422),
        ("", {"data": {"b": "2"}}, 415),
        (MERGE, b"{", 400),
    ],
)
async def test_a_patch_is_of_a_kind(rest: Rest, kind: str, patch: Any, status: int) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    answer = await rest.ask("PATCH", f"{CMS}/c", patch, kind=kind)
    assert answer.status == status, answer.body
    if status == 200:
        assert answer.json()["data"] == {"a": "1", "b": "2"}
    if status == 415:
        assert "accepted media types include" in answer.json()["message"]


async def test_copies_of_a_json_patch_are_bounded(rest: Rest) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "c"}, "data": {"a": "x" * 1000}})
    double = [{"op": "copy", "from": "/data", "path": f"/data/b{n}"} for n in range(64)]
    answer = await rest.ask("PATCH", f"{CMS}/c", double, kind="application/json-patch+json")
    assert answer.status == 400
    assert "copies of a JSON patch" in answer.json()["message"]


async def test_pages_of_a_list_are_of_one_moment(rest: Rest) -> None:
    for number in range(5):
        await rest.ask("POST", CMS, {"metadata": {"name": f"c{number}"}})
    first = (await rest.ask("GET", f"{CMS}?limit=2")).json()
    assert first["kind"] == "ConfigMapList"
    assert first["metadata"]["remainingItemCount"] == 3
    await rest.ask("DELETE", f"{CMS}/c3")
    query = f"limit=2&continue={first['metadata']['continue']}"
    second = (await rest.ask("GET", f"{CMS}?{query}")).json()
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_selectors_and_collections(rest: Rest) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        metadata = {"name": name, "labels": {"colour": colour}}
        await rest.ask("POST", CMS, {"metadata": metadata})
    gone = (await rest.ask("DELETE", f"{CMS}?labelSelector=colour%3Dred")).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    left = (await rest.ask("GET", f"{CMS}?fieldSelector=metadata.name%21%3Dx")).json()
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


async def test_items_of_a_list_leave_their_type_to_it(rest: Rest) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "c"}, "data": {"kind": "x"}})
    listed = (await rest.ask("GET", CMS)).json()
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "ConfigMapList")
    (item,) = listed["items"]
    assert set(item) >= {"metadata", "data"}
    assert not {"kind", "apiVersion"} & set(item)
    assert (await rest.ask("GET", f"{CMS}/c")).json() == {
        **item,
        "kind": "ConfigMap",
        "apiVersion": "v1",
    }


async def test_collection_of_many_goes_whole_and_in_order(rest: Rest) -> None:
    names = [f"c{number:03}" for number in range(50)]
    for name in names:
        await rest.ask("POST", CMS, {"metadata": {"name": name}})
    gone = (await rest.ask("DELETE", CMS)).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == names
    assert (await rest.ask("GET", CMS)).json()["items"] == []


async def test_tables_and_metadata_are_made_on_request(rest: Rest) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    table = (await rest.ask("GET", CMS, accept=TABLE)).json()
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["c", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = (await rest.ask("GET", f"{CMS}/c?includeObject=Object", accept=TABLE)).json()
    assert whole["rows"][0]["object"]["data"] == {"a": "1"}
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    listed = (await rest.ask("GET", CMS, accept=partial)).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "data" not in listed["items"][0]
    yaml = await rest.ask("GET", f"{CMS}/c", accept="application/yaml")
    assert yaml.headers["content-type"] == "application/yaml"
    assert b"kind: ConfigMap\n" in yaml.body


async def test_yaml_bodies_are_taken(rest: Rest) -> None:
    text = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: y}\ndata: {when: '2026-01-02'}\n"
    made = await rest.ask("POST", CMS, text, kind="application/yaml")
    assert (made.status, made.json()["data"]) == (201, {"when": "2026-01-02"})


@pytest.mark.parametrize(
    ("validation", "status", "warning"),
    [
        ("", 201, '299 - "unknown field \\"dtaa\\""'),
        ("Warn", 201, '299 - "unknown field \\"dtaa\\""'),
        ("Ignore", 201, None),
        ("Strict", 400, None),
        ("Loud", 422, None),
    ],
)
async def test_unknown_fields(rest: Rest, validation: str, status: int, warning: str) -> None:
    url = f"{CMS}?fieldValidation={validation}"
    answer = await rest.ask("POST", url, {"metadata": {"name": "c"}, "dtaa": {}})
    assert (answer.status, answer.headers.get("warning")) == (status, warning)


async def test_a_dry_run_leaves_nothing(rest: Rest) -> None:
    made = await rest.ask("POST", f"{CMS}?dryRun=All", {"metadata": {"generateName": "c-"}})
    assert made.status == 201
    assert made.json()["metadata"]["name"].startswith("c-")
    assert (await rest.ask("GET", CMS)).json()["items"] == []
    assert (await rest.ask("POST", f"{CMS}?dryRun=Some", {})).status == 422


async def test_scale_is_read_and_written_by_itself(rest: Rest) -> None:
    await rest.ask("POST", DEPLOYMENTS, deployment("web", replicas=2))
    scale = (await rest.ask("GET", f"{DEPLOYMENTS}/web/scale")).json()
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale", {"replicas": 2}, "app=web",
    )  # fmt: skip
    scale["spec"]["replicas"] = 0
    assert (await rest.ask("PUT", f"{DEPLOYMENTS}/web/scale", scale)).json()["spec"] == {}
    scale["spec"]["replicas"] = 4
    assert (await rest.ask("PUT", f"{DEPLOYMENTS}/web/scale", scale)).status == 409
    patch = {"spec": {"replicas": 5}}
    patched = await rest.ask("PATCH", f"{DEPLOYMENTS}/web/scale", patch, kind=MERGE)
    assert patched.json()["spec"] == {"replicas": 5}
    assert (await rest.ask("GET", f"{DEPLOYMENTS}/web")).json()["spec"]["replicas"] == 5
    patch = {"spec": {"replicas": -1}}
    assert (await rest.ask("PATCH", f"{DEPLOYMENTS}/web/scale", patch, kind=MERGE)).status == 422


async def test_an_eviction_deletes_the_pod(rest: Rest) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await rest.ask("POST", pods, pod("p", terminationGracePeriodSeconds=0))
    body = {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}}
    answer = await rest.ask("POST", f"{pods}/p/eviction", body)
    assert (answer.status, answer.json()["status"]) == (201, "Success")
    assert (await rest.ask("GET", f"{pods}/p")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/pods", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("POST", "/api/v1/namespaces/default/pods/p", 405),
        ("GET", "/api/v1/namespaces/default/pods/p/binding", 405),
        ("GET", "/api/v1/namespaces/default/pods/p/nothing", 404),
        ("GET", "/api/v1/namespaces/default/nodes/n", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/apis/none.example/v1/nothings", 404),
        ("GET", "/api/v1/namespaces/default/pods?limit=x", 400),
        ("GET", "/api/v1/namespaces/default/pods?resourceVersionMatch=Exact", 422),
        ("GET", "/api/v1/pods?watch=1&sendInitialEvents=true", 422),
        ("GET", "/api/v1/pods?labelSelector=%21%21", 400),
        ("PATCH", "/healthz", 405),
    ],
)
async def test_requests_that_lead_nowhere(rest: Rest, method: str, path: str, status: int) -> None:
    answer = await rest.ask(method, path, {} if method in ("POST", "PUT") else None)
    assert answer.status == status, answer.body
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"metadata":{"name":"c"}', id="cut off"),
        pytest.param(b'{"metadata":{"name":"\xff"}}', id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"metadata":[]}', id="wrong type"),
        pytest.param(b'{"kind":"Pod","metadata":{"name":"c"}}', id="another kind"),
        pytest.param(b'{"kind":3,"metadata":{"name":"c"}}', id="a number for a kind"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_malformed_bodies_are_400(rest: Rest, body: bytes) -> None:
    answer = await rest.ask("POST", CMS, body)
    assert (answer.status, answer.json()["kind"]) == (400, "Status"), answer.body


async def test_bodies_are_bounded(rest: Rest) -> None:
    answer = await rest.ask("POST", CMS, b'{"a":"%b"}' % (b"x" * (3 << 20)))
    assert (answer.status, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_watch_goes_on_from_a_list(rest: Rest) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "a"}})
    version = (await rest.ask("GET", CMS)).json()["metadata"]["resourceVersion"]
    url = f"{CMS}?watch=true&resourceVersion={version}&timeoutSeconds=20"
    async with rest.asking("GET", url) as (answer, parts):
        assert answer.status == 200
        await rest.ask("POST", CMS, {"metadata": {"name": "b"}})
        await rest.ask("DELETE", f"{CMS}/a")
        await rest.ask("POST", "/api/v1/namespaces/default/services", service("s"))
        seen = b""
        while seen.count(b"\n") < 2:
            seen += await anext(parts)
    events = [json.loads(line) for line in seen.splitlines()]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
        ("ADDED", "b"), ("DELETED", "a"),
    ]  # fmt: skip


async def test_a_watch_list_ends_with_a_bookmark(rest: Rest) -> None:
    await rest.ask("POST", CMS, {"metadata": {"name": "a"}})
    url = (
        f"{CMS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        "&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    lines = (await rest.ask("GET", url, accept=TABLE)).body.splitlines()
    added, bookmark = map(json.loads, lines)
    assert added["object"]["rows"][0]["cells"][0] == "a"
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["columnDefinitions"] is None
    metadata = bookmark["object"]["rows"][0]["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_many_watchers_get_the_same_bytes(rest: Rest) -> None:
    async def first_line() -> bytes:
        async with rest.asking("GET", f"{CMS}?watch=1&resourceVersion=0") as (_, parts):
            started.release()
            return await anext(parts)

    started = asyncio.Semaphore(0)
    watchers = [asyncio.create_task(first_line()) for _ in range(8)]
    for _ in watchers:
        await started.acquire()
    await rest.ask("POST", CMS, simple("ConfigMap", "x"))
    assert len({*await asyncio.gather(*watchers)}) == 1


async def test_protobuf_bodies_are_taken(rest: Rest) -> None:
    raw = body("v1", "ConfigMap", (1, message((1, "p"))), (2, entry("a", "b")))
    kind = "application/vnd.kubernetes.protobuf"
    made = await rest.ask("POST", CMS, raw, kind=kind, accept=f"{kind},application/json")
    assert (made.status, made.json()["data"]) == (201, {"a": "b"})
    assert (await rest.ask("POST", CMS, raw[:-5], kind=kind)).status == 400
