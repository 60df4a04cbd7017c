"""kubraft.v1.Objects as clients meet it, over TLS."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apiserver.registry.resources import TABLE
from apiserver.rpc import body
from kubraft.api.errors import BadRequestError, NotFoundError
from kubraft.api.gvk import CONFIG_MAP, DEPLOYMENT, POD
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.harness import deployment, pod, service, simple
from tests.apiserver.rpc.conftest import Api


def put(obj: Any, **fields: Any) -> pb.PutRequest:
    return pb.PutRequest(json=orjson.dumps(obj), **fields)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def test_a_person_puts_and_gets_structs(api: Api) -> None:
    answer = await api.stub.Put(pb.PutRequest(object=body.to_struct(deployment(replicas=3))))
    shown = body.from_struct(answer.object)
    assert shown["spec"]["replicas"] == 3
    assert isinstance(shown["spec"]["replicas"], int)
    stored = await api.bench.get(DEPLOYMENT, "web")
    assert stored["spec"]["replicas"] == 3
    got = await api.stub.Get(pb.GetRequest(kind="Deployment", name="web"))
    assert body.from_struct(got.object) == stored


async def test_the_version_of_a_kind_may_be_left_out(api: Api) -> None:
    obj = deployment()
    del obj["apiVersion"]
    answer = await api.stub.Put(put(obj))
    assert orjson.loads(answer.json)["apiVersion"] == "apps/v1"


async def test_a_failure_carries_the_whole_status(api: Api) -> None:
    error = await failure(api.stub.Get(pb.GetRequest(kind="Pod", name="nope")))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.NOT_FOUND,
        'pods "nope" not found',
    )
    metadata: Any = error.trailing_metadata()
    rich = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
    detail = pb.Status()
    assert rich.details[0].Unpack(detail)
    assert (detail.code, detail.reason) == (404, "NotFound")
    assert orjson.loads(detail.json)["details"] == {"name": "nope", "kind": "pods"}


NESTED = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(pb.PutRequest(), id="no object"),
        pytest.param(pb.PutRequest(json=b""), id="empty bytes"),
        pytest.param(pb.PutRequest(json=b"{"), id="cut off"),
        pytest.param(pb.PutRequest(json=b"\xff\xfe"), id="not UTF-8"),
        pytest.param(pb.PutRequest(json=b"[]"), id="a list"),
        pytest.param(pb.PutRequest(json=b"1"), id="a number"),
        pytest.param(pb.PutRequest(json=NESTED), id="nested lists"),
        pytest.param(pb.PutRequest(json=b'{"a":' * 500 + b"1" + b"}" * 500), id="nested objects"),
        pytest.param(put({}), id="no kind"),
        pytest.param(put({"kind": 1}), id="kind is a number"),
        pytest.param(put({"kind": "Pod", "apiVersion": 1}), id="version is a number"),
        pytest.param(put({"kind": "Pod"}), id="nothing else"),
        pytest.param(put({"kind": "Pod", "metadata": []}), id="metadata is a list"),
        pytest.param(put({"kind": "Pod", "metadata": {"name": {}}}), id="name is an object"),
        pytest.param(put({**pod(), "spec": "x"}), id="spec is a string"),
        pytest.param(put({**pod(), "spec": {"containers": {}}}), id="containers is an object"),
        pytest.param(put({**pod(), "spec": {"containers": [None]}}), id="container is null"),
        pytest.param(put({**pod(), "metadata": {"name": "a/../b"}}), id="path in a name"),
        pytest.param(put(pod(), namespace="../x"), id="path in the namespace"),
        pytest.param(put(pod(), namespace="other"), id="another namespace"),
        pytest.param(put(pod(), subresource="nope"), id="unknown subresource"),
        pytest.param(put(pod(), field_validation="Maybe"), id="unknown validation"),
        pytest.param(
            put({"kind": "Binding", "metadata": {"name": "x"}, "target": []}),
            id="binding to a list",
        ),
        pytest.param(
            pb.PutRequest(json=b'{"kind":"ConfigMap","metadata":{"name":"a","name":"b"}}'),
            id="duplicate key",
        ),
    ],
)
async def test_garbage_is_refused_cleanly(api: Api, request_: pb.PutRequest) -> None:
    error = await failure(api.stub.Put(request_))
    assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    details = error.details() or ""
    assert details
    assert "Traceback" not in details
    assert "internal error" not in details


async def test_an_oversized_body_is_refused(api: Api) -> None:
    large = put(simple("ConfigMap", data={"a": "x" * 4_000_000}))
    error = await failure(api.stub.Put(large))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_unknown_fields_can_be_ignored_or_warned_about(api: Api) -> None:
    obj = {**simple("ConfigMap"), "extra": 1}
    assert (await failure(api.stub.Put(put(obj)))).details() == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'unknown field "extra"'
    )
    call = api.stub.Put(put(obj, field_validation="Warn"))
    assert "extra" not in orjson.loads((await call).json)
    trailing = [value for key, value in await call.trailing_metadata() if "warning" in key]
    assert trailing == ['unknown field "extra"']
    obj["metadata"] = {"name": "y"}
    answer = await api.stub.Put(put(obj, field_validation="Ignore"))
    assert "extra" not in orjson.loads(answer.json)


async def test_lists_come_in_pages_of_one_revision(api: Api) -> None:
    for index in range(5):
        await api.bench.create(simple("ConfigMap", f"m{index}"))
    request = pb.ListRequest(kind="ConfigMap", limit=2, encoding=pb.ENCODING_JSON)
    names, versions = [], set()
    while True:
        page = await api.stub.List(request)
        names += [orjson.loads(item.json)["metadata"]["name"] for item in page.items]
        versions.add(page.resource_version)
        if not page.continue_token:
            break
        await api.bench.create(simple("ConfigMap", f"later-{len(names)}"))
        request.continue_token = page.continue_token
    assert names == ["m0", "m1", "m2", "m3", "m4"]
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        pytest.param("app=a", "", ["p0"], id="label"),
        pytest.param("app in (a,b)", "", ["p0", "p1"], id="set"),
        pytest.param("!app", "", ["p2"], id="absent"),
        pytest.param("", "metadata.name=p1", ["p1"], id="name"),
        pytest.param("", "metadata.name!=p1,status.phase=Pending", ["p0", "p2"], id="fields"),
        pytest.param("app=a", "metadata.name=p1", [], id="both"),
    ],
)
async def test_lists_are_selected(api: Api, labels: str, fields: str, expected: list[str]) -> None:
    for index, app in enumerate(["a", "b", None]):
        obj = pod(f"p{index}")
        if app:
            obj["metadata"]["labels"] = {"app": app}
        await api.bench.create(obj)
    found = await api.client.list(POD, label_selector=labels, field_selector=fields)
    assert [p["metadata"]["name"] for p in found.items] == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"label_selector": "a=b=c"}, id="label selector"),
        pytest.param({"field_selector": "spec.nope=1"}, id="field"),
        pytest.param({"limit": -1}, id="limit"),
        pytest.param({"resource_version": "x"}, id="resource version"),
        pytest.param({"resource_version_match": "Exact"}, id="match without version"),
        pytest.param({"continue_token": "x"}, id="continue token"),
        pytest.param({"kind": ""}, id="no kind"),
    ],
)
async def test_a_bad_list_is_refused(api: Api, fields: dict[str, Any]) -> None:
    error = await failure(api.stub.List(pb.ListRequest(**{"kind": "Pod", **fields})))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_tables_show_what_kubectl_shows(api: Api) -> None:
    await api.bench.create(pod())
    await api.bench.create(service("s", clusterIP="10.96.0.9"))
    table = await api.client.table(POD)
    names = [c["name"] for c in table["columnDefinitions"] if not c["priority"]]
    assert names == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert table["rows"][0]["cells"][:5] == ["web", "0/1", "Pending", "0", "0s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_deleting_says_whether_the_object_is_gone(api: Api) -> None:
    await api.bench.create(simple("ConfigMap"))
    answer = await api.stub.Delete(
        pb.DeleteRequest(kind="ConfigMap", name="x", encoding=pb.ENCODING_JSON)
    )
    assert answer.gone
    assert orjson.loads(answer.object.json)["metadata"]["name"] == "x"
    with pytest.raises(NotFoundError):
        await api.client.get(CONFIG_MAP, "x", "default")


async def test_a_patch_may_demand_a_version(api: Api) -> None:
    created = await api.bench.create(simple("ConfigMap"))
    request = pb.PatchRequest(
        kind="ConfigMap", name="x", json=b'{"data":{"a":"b"}}', resource_version="1"
    )
    error = await failure(api.stub.Patch(request))
    assert error.code() is grpc.StatusCode.ABORTED
    request.resource_version = created["metadata"]["resourceVersion"]
    answer = await api.stub.Patch(request)
    assert orjson.loads(answer.json)["data"] == {"a": "b"}


async def test_kinds_tell_what_is_served(api: Api) -> None:
    kinds = {kind.gvk.kind: kind for kind in await api.client.kinds()}
    assert len(kinds) == len({row.gvk.kind for row in TABLE})
    assert kinds["Deployment"].short_names == ("deploy",)
    assert not kinds["Node"].namespaced


async def test_a_defect_is_no_traceback(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(api.bench.registry, "get", broken)
    error = await failure(api.stub.Get(pb.GetRequest(kind="Pod", name="x")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert (error.details() or "").startswith("internal error (request ")


async def test_health_follows_the_server(api: Api) -> None:
    stub = health_pb2_grpc.HealthStub(api.channel)
    request = health_pb2.HealthCheckRequest(service="")
    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    await api.server.set_serving(serving=False)
    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_logs_of_a_pod_without_node_are_refused(api: Api) -> None:
    await api.bench.create(pod())
    with pytest.raises(BadRequestError, match="does not have a host assigned"):
        await anext(api.client.logs("web", "default"))


async def test_many_calls_at_once_are_all_answered(api: Api) -> None:
    await asyncio.gather(
        *(api.client.create(simple("ConfigMap", f"m{index}")) for index in range(100))
    )
    assert len((await api.client.list(CONFIG_MAP)).items) == 100


async def test_a_scale_is_read_and_patched(api: Api) -> None:
    await api.stub.Put(put(deployment(replicas=3)))
    named: dict[str, Any] = {"kind": "Deployment", "name": "web", "subresource": "scale"}
    got = await api.stub.Get(pb.GetRequest(**named, encoding=pb.ENCODING_JSON))
    scale = orjson.loads(got.json)
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 3})
    assert scale["status"]["selector"] == "app=web"
    change = orjson.dumps({"spec": {"replicas": 5}})
    patched = await api.stub.Patch(pb.PatchRequest(**named, json=change))
    assert orjson.loads(patched.json)["spec"] == {"replicas": 5}
    assert (await api.bench.get(DEPLOYMENT, "web"))["spec"]["replicas"] == 5


async def test_reviews_are_answered_and_not_kept(api: Api) -> None:
    asked = {"user": "ann", "resourceAttributes": {"verb": "get", "resource": "pods"}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    answer = await api.stub.Put(put({**kind, "metadata": {}, "spec": asked}))
    assert orjson.loads(answer.json)["status"]["allowed"] is True
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    answer = await api.stub.Put(put({**kind, "spec": {"token": "x"}}))
    assert orjson.loads(answer.json)["status"]["user"]["username"] == "admin"
    error = await failure(api.stub.Put(put({**kind, "spec": {"tokn": "x"}})))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
