"""An extension API server behind this one, as clients and the extension see it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubraft.api.errors import BadRequestError, ForbiddenError, NotFoundError
from kubraft.api.gvk import GroupVersionKind
from kubraft.client.client import ApiClient, Kind
from tests.apiserver.aggregation.extension import (
    BASE,
    GROUP,
    NAME,
    VERSION,
    Extension,
    api_service,
    bundle,
    running_extension,
)
from tests.apiserver.in_process import Answer, Served, serving
from tests.harness.ports import free_ports

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
FLUNDER = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder", "metadata": {"name": "f"}}


@pytest.fixture
async def api(tmp_path: Path, pki: Path) -> AsyncIterator[Served]:
    flags = (
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-uid-headers=X-Remote-Uid",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    )
    async with serving(tmp_path, pki, *flags) as served:
        yield served


async def settled(api: Served, path: str, wanted: Callable[[Answer], bool], **more: Any) -> Answer:
    """The answer, once it is as wanted."""
    async with asyncio.timeout(60):
        while True:
            answer = await api.ask("GET", path, **more)
            if answer.status < 500 and wanted(answer):
                return answer
            await asyncio.sleep(0.05)


def available(status: str, reason: str) -> Callable[[Answer], bool]:
    def holds(answer: Answer) -> bool:
        conditions = answer.json().get("status", {}).get("conditions", [])
        return [(c["status"], c["reason"]) for c in conditions] == [(status, reason)]

    return holds


async def register(api: Served, extension: Extension, folder: Path) -> None:
    service = {"metadata": {"name": "wardle"},
               "spec": {"type": "ExternalName", "externalName": "localhost"}}  # fmt: skip
    await api.create("/api/v1/namespaces/default/services", service)
    await api.create(SERVICES, api_service(extension.port, caBundle=bundle(folder)))
    await settled(api, f"{SERVICES}/{NAME}", available("True", "Passed"))


async def test_own_versions_are_registered(api: Served) -> None:
    def complete(answer: Answer) -> bool:
        return len(answer.json()["items"]) >= 20

    listed = (await settled(api, SERVICES, complete)).json()["items"]
    found = {item["metadata"]["name"]: item for item in listed}
    assert {"v1.", "v1.apps", "v1.authentication.k8s.io", "v2.autoscaling"} <= found.keys()
    assert "v1.apiregistration.k8s.io" not in found
    apps = found["v1.apps"]
    assert apps["spec"] == {
        "group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15
    }  # fmt: skip
    assert apps["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    (condition,) = apps["status"]["conditions"]
    condition.pop("lastTransitionTime")
    assert condition == {
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
    shown = await api.ask("GET", f"{SERVICES}/v1.apps", headers=[
        ("accept", b"application/json;as=Table;v=v1;g=meta.k8s.io")])  # fmt: skip
    assert shown.json()["rows"][0]["cells"][:3] == ["v1.apps", "Local", "True"]


async def test_those_of_custom_resources_come_and_go(api: Served) -> None:
    names = {"plural": "boats", "singular": "boat", "kind": "Boat"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "metadata": {"name": "boats.sea.example.com"},
        "spec": {
            "group": "sea.example.com",
            "scope": "Cluster",
            "names": names,
            "versions": [version],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await api.create(definitions, definition)
    own = f"{SERVICES}/v1.sea.example.com"
    made = (await settled(api, own, lambda answer: answer.status == 200)).json()
    assert made["spec"]["groupPriorityMinimum"] == 1000
    assert made["spec"]["versionPriority"] == 100
    # Somebody takes it away, and it comes back.
    assert (await api.ask("DELETE", own)).status == 200
    uid = made["metadata"]["uid"]
    await settled(api, own, lambda a: a.status == 200 and a.json()["metadata"]["uid"] != uid)
    assert (await api.ask("DELETE", f"{definitions}/boats.sea.example.com")).status == 200
    await settled(api, own, lambda answer: answer.status == 404)


async def test_requests_are_passed_on_with_the_user(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        made = await api.ask("POST", f"{BASE}/flunders?dryRun=no%20it%2Fs", FLUNDER)
        assert (made.status, made.json(), made.headers["x-from"]) == (201, FLUNDER, "wardle")
        assert (await api.ask("GET", f"{BASE}/flunders/f")).json() == FLUNDER
        missing = await api.ask("GET", f"{BASE}/flunders/none")
        assert (missing.status, missing.json()["reason"]) == (404, "NotFound")
        headers = extension.seen[-1]
        assert headers["X-Remote-User"] == "admin"
        assert headers["X-Remote-Uid"] == "1"
        assert headers.getall("X-Remote-Group") == ["system:masters", "system:authenticated"]
        assert headers["Host"] == f"wardle.default.svc:{extension.port}"
        assert headers["X-Forwarded-For"] == "127.0.0.1"
        assert "Authorization" not in headers
        # What a client says of itself goes nowhere, and impersonation is what is passed on.
        await api.ask("GET", f"{BASE}/flunders/f", headers=[
            ("x-remote-user", b"root"), ("x-remote-extra-a", b"b"),
            ("impersonate-user", b"ann"), ("impersonate-group", b"system:masters"),
            ("impersonate-extra-Example.com%2Ffloor", b"3")])  # fmt: skip
        headers = extension.seen[-1]
        assert headers.getall("X-Remote-User") == ["ann"]
        assert headers["X-Remote-Extra-Example.com%2ffloor".lower()] == "3"
        assert not [name for name in headers if name.lower().startswith("impersonate-")]
        assert "X-Remote-Extra-A" not in headers


async def test_both_servers_decide_who_may(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        refused = await api.ask("GET", f"{BASE}/flunders", token="bob-token")
        assert refused.status == 403
        assert refused.json()["message"] == (
            f'flunders.{GROUP} is forbidden: User "bob" cannot list resource "flunders" in API '
            f'group "{GROUP}" at the cluster scope'
        )
        assert all(headers.get("X-Remote-User") != "bob" for headers in extension.seen)
        role = {"metadata": {"name": "fish"}, "rules": [
            {"verbs": ["list"], "apiGroups": [GROUP], "resources": ["flunders"]}]}  # fmt: skip
        roles = "/apis/rbac.authorization.k8s.io/v1"
        await api.create(f"{roles}/clusterroles", role)
        await api.create(f"{roles}/clusterrolebindings", {
            "metadata": {"name": "fish"},
            "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "ClusterRole", "name": "fish",
                        "apiGroup": "rbac.authorization.k8s.io"}})  # fmt: skip
        await settled(api, f"{BASE}/flunders", lambda a: a.status == 200, token="bob-token")
        assert extension.seen[-1]["X-Remote-User"] == "bob"


async def test_watches_stream(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        context = ssl.create_default_context(cafile=api.pki / "ca.crt")
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=context)
        request = (
            f"GET {BASE}/flunders?watch=1 HTTP/1.1\r\nHost: x\r\n"
            "Authorization: Bearer admin-token-of-a-test\r\n\r\n"
        )
        writer.write(request.encode())
        async with asyncio.timeout(30):
            assert b" 200 " in await reader.readline()
            for name in ("a", "b"):
                obj = {**FLUNDER, "metadata": {"name": name}}
                await api.create(f"{BASE}/flunders", obj)
                while not (line := await reader.readline()).startswith(b"{"):
                    pass
                assert json.loads(line) == {"type": "ADDED", "object": obj}
        writer.close()


async def test_websockets_are_relayed(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        context = ssl.create_default_context(cafile=api.pki / "ca.crt")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"https://127.0.0.1:{api.port}{BASE}/flunders/f/talk?a=b",
                ssl=context,
                headers={"Authorization": "Bearer admin-token-of-a-test"},
                protocols=["talk.example.com"],
            ) as socket,
        ):
            assert socket.protocol == "talk.example.com"
            assert await socket.receive_str() == "hello admin"
            await socket.send_str("x" * 100_000)
            assert len(await socket.receive_str()) == 100_001
        assert "Authorization" not in extension.seen[-1]


async def test_agents_list_and_delete_what_is_elsewhere(api: Served, tmp_path: Path) -> None:
    fischer = GroupVersionKind(GROUP, VERSION, "Fischer")
    async with running_extension(api, tmp_path) as extension:
        extension.fischers["default"] = ["bobby", "helga"]
        await register(api, extension, tmp_path)
        ca_file = api.pki / "ca.crt"
        clients = {
            name: ApiClient(f"127.0.0.1:{api.grpc_port}", ca_file=ca_file, token=token)
            for name, token in (("admin", "admin-token-of-a-test"), ("bob", "bob-token"))
        }
        try:
            admin = clients["admin"]
            assert fischer not in {kind.gvk for kind in await admin.kinds()}
            async with asyncio.timeout(60):
                known: dict[GroupVersionKind, Kind] = {}
                while fischer not in known:
                    known = {kind.gvk: kind for kind in await admin.kinds(remote=True)}
            assert known[fischer].namespaced
            assert known[fischer].verbs == ("delete", "list")
            found = (await admin.list(fischer, "default")).items
            assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [
                ("Fischer", "bobby"),
                ("Fischer", "helga"),
            ]
            assert extension.seen[-1]["X-Remote-User"] == "admin"
            await admin.delete(fischer, "bobby", "default", propagation="Background", uid="bobby")
            assert extension.fischers["default"] == ["helga"]
            with pytest.raises(NotFoundError, match="no such"):
                await admin.delete(fischer, "bobby", "default", uid="bobby")
            with pytest.raises(ForbiddenError, match="cannot list resource"):
                await clients["bob"].list(fischer, "default")
            with pytest.raises(BadRequestError):
                await admin.delete(fischer, "../../x", "default")
        finally:
            for client in clients.values():
                await client.close()


@pytest.mark.parametrize("aggregated", [True, False], ids=["aggregated", "plain"])
async def test_discovery_and_openapi_are_merged(
    api: Served, tmp_path: Path, *, aggregated: bool
) -> None:
    async with running_extension(api, tmp_path, aggregated=aggregated) as extension:
        await register(api, extension, tmp_path)
        accept = [("accept", AGGREGATED.encode())]

        def described(answer: Answer) -> bool:
            groups = {g["metadata"]["name"]: g["versions"] for g in answer.json()["items"]}
            return bool(groups[GROUP][0]["freshness"] == "Current")

        groups = (await settled(api, "/apis", described, headers=accept)).json()["items"]
        names = [group["metadata"]["name"] for group in groups]
        assert names[:2] == ["apiregistration.k8s.io", "apps"]
        assert names[-1] == GROUP  # 2000 is little
        (version,) = groups[-1]["versions"]
        resource = version["resources"][0]
        assert resource["resource"] == "flunders"
        assert resource["responseKind"] == {"group": GROUP, "version": VERSION, "kind": "Flunder"}
        assert resource["shortNames"] == ["fl"]
        plain = (await api.ask("GET", "/apis")).json()["groups"]
        assert plain[-1]["preferredVersion"] == {
            "groupVersion": f"{GROUP}/{VERSION}", "version": VERSION
        }  # fmt: skip
        assert (await api.ask("GET", f"/apis/{GROUP}")).json()["name"] == GROUP
        assert (await api.ask("GET", BASE)).json()["resources"][0]["name"] == "flunders"

        def indexed(answer: Answer) -> bool:
            return BASE.strip("/") in answer.json()["paths"]

        index = (await settled(api, "/openapi/v3", indexed)).json()["paths"]
        document = await api.ask("GET", index[BASE.strip("/")]["serverRelativeURL"])
        (schema,) = document.json()["components"]["schemas"].values()
        assert schema["properties"]["size"]["description"] == "In feet."
        path = f"{BASE}/flunders/{{name}}"
        whole = (await settled(api, "/openapi/v2", lambda a: path in a.json()["paths"])).json()
        definitions = whole["definitions"]
        flunder = definitions["com.example.wardle.v1alpha1.Flunder"]
        status = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
        assert flunder["properties"]["last"] == {"$ref": f"#/definitions/{status}_v2"}
        assert definitions[f"{status}_v2"]["description"] == "not that of Kubernetes"
        assert definitions[status]["description"] != "not that of Kubernetes"
        assert "unused" not in definitions
        assert "/version/" not in whole["paths"]
        # Deleted, it is gone at once.
        assert (await api.ask("DELETE", f"{SERVICES}/{NAME}")).status == 200
        groups = (await api.ask("GET", "/apis", headers=accept)).json()["items"]
        assert GROUP not in [group["metadata"]["name"] for group in groups]
        gone = await api.ask("GET", f"{BASE}/flunders")
        assert (gone.status, gone.body) == (404, b"404 page not found\n")


DEEP = b'{"paths":{"%b/x":' % BASE.encode() + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}"
ODD = {"resource": 7, "responseKind": {"kind": ["x"]}, "verbs": {"a": 1}, "scope": []}


def groups_with(resources: Any) -> bytes:
    versions = [{"version": VERSION, "resources": resources}]
    return json.dumps({"items": [{"metadata": {"name": GROUP}, "versions": versions}]}).encode()


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param({"/apis": b"[]", "/openapi/v2": b"[]", "/openapi/v3": b"7"}, id="no-objects"),
        pytest.param({"/apis": b'{"items":7}', "/openapi/v3": b'{"paths":[1]}'}, id="types"),
        pytest.param(
            {"/apis": groups_with([1, None, "x"]), "/openapi/v2": b'{"paths":[]}'}, id="rows"
        ),
        pytest.param({"/apis": groups_with([ODD]), "/openapi/v2": DEEP}, id="deep"),
        pytest.param({"/apis": b"\xff\xfe{", "/openapi/v2": b"", "/openapi/v3": b""}, id="bytes"),
    ],
)
async def test_a_server_that_lies_harms_nobody_else(
    api: Served, tmp_path: Path, lies: dict[str, bytes]
) -> None:
    async with running_extension(api, tmp_path) as extension:
        extension.lies = lies
        await register(api, extension, tmp_path)
        accept = [("accept", AGGREGATED.encode())]
        for _ in range(3):  # while it is being asked
            found = await api.ask("GET", "/apis", headers=accept)
            assert found.status == 200
            assert "apps" in [group["metadata"]["name"] for group in found.json()["items"]]
            whole = await api.ask("GET", "/openapi/v2")
            assert (whole.status, whole.json()["swagger"]) == (200, "2.0")
            await asyncio.sleep(0.1)
        client = ApiClient(
            f"127.0.0.1:{api.grpc_port}",
            ca_file=api.pki / "ca.crt",
            token="admin-token-of-a-test",
        )
        try:
            assert "Pod" in {kind.gvk.kind for kind in await client.kinds(remote=True)}
        finally:
            await client.close()
        assert (await api.ask("GET", "/readyz")).status == 200


async def test_redirects_are_not_followed(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        found = await api.ask("GET", f"{BASE}/flunders/f/away")
        assert found.status == 502
        assert found.body == (
            b"the backend attempted to redirect this request, which is not permitted"
        )
        assert "location" not in found.headers


# By the name of the Service: its spec, and the reason and message of the condition.
MISSING: dict[str, tuple[Any, str, str]] = {
    "none": (None, "ServiceNotFound", 'service/none in "default" is not present'),
    "other-port": (
        {"ports": [{"port": 8443}]},
        "ServicePortError",
        'service/other-port in "default" is not listening on port PORT',
    ),
    "empty": (
        {"ports": [{"port": "PORT"}], "selector": {"app": "wardle"}},
        "EndpointsNotFound",
        'cannot find endpointslices for service/empty in "default"',
    ),
    "silent": (
        {"type": "ExternalName", "externalName": "localhost"},
        "FailedDiscoveryCheck",
        "failing or missing response from https://localhost:PORT/apis/silent.example.com/v1: "  # noqa: ISC004
        'Get "https://localhost:PORT/apis/silent.example.com/v1": dial tcp localhost:PORT: '
        "connect: connection refused",
    ),
}


async def test_what_is_missing_is_said(api: Served) -> None:
    (port,) = free_ports(1)
    for name, (spec, _, _) in MISSING.items():
        if spec is not None:
            text = json.dumps(spec).replace('"PORT"', str(port))
            body = {"metadata": {"name": name}, "spec": json.loads(text)}
            await api.create("/api/v1/namespaces/default/services", body)
        made = api_service(port, insecureSkipTLSVerify=True, group=f"{name}.example.com")
        made["spec"] |= {"version": "v1"}
        made["spec"]["service"]["name"] = name
        made["metadata"]["name"] = f"v1.{name}.example.com"
        await api.create(SERVICES, made)
    for name, (_, reason, message) in MISSING.items():
        path = f"{SERVICES}/v1.{name}.example.com"
        found = (await settled(api, path, available("False", reason))).json()
        said = found["status"]["conditions"][0]["message"]
        assert said == message.replace("PORT", str(port))
        refused = await api.ask("GET", f"/apis/{name}.example.com/v1/things")
        assert (refused.status, refused.body) == (503, b"service unavailable\n")
    # It is not known what there is: who deletes everything must not believe there is nothing.
    groups = (await api.ask("GET", "/apis", headers=[("accept", AGGREGATED.encode())])).json()
    (version,) = groups["items"][-1]["versions"]
    assert (version["freshness"], version["resources"]) == ("Stale", [])


async def test_a_server_that_breaks_is_unavailable_and_comes_back(
    api: Served, tmp_path: Path
) -> None:
    async with running_extension(api, tmp_path) as extension:
        await register(api, extension, tmp_path)
        extension.broken = True
        own = f"{SERVICES}/{NAME}"
        found = (await api.ask("GET", own)).json()
        # Any change has it looked at; else it is looked at twice a minute.
        found["spec"]["versionPriority"] = 11
        assert (await api.ask("PUT", own, found)).status == 200
        broken = (await settled(api, own, available("False", "FailedDiscoveryCheck"))).json()
        message = broken["status"]["conditions"][0]["message"]
        assert message.endswith(f"bad status from https://localhost:{extension.port}{BASE}: 500")
        assert (await api.ask("GET", f"{BASE}/flunders")).status == 503
        extension.broken = False
        await settled(api, own, available("True", "Passed"))
        assert (await api.ask("GET", f"{BASE}/flunders")).status == 200


async def test_endpoints_that_somebody_wrote_down_are_found(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        await api.create("/api/v1/namespaces/default/services", {
            "metadata": {"name": "wardle"}, "spec": {"ports": [{"port": 443, "name": "api"}]}
        })  # fmt: skip
        await api.create(SERVICES, api_service(443, caBundle=bundle(tmp_path)))
        await settled(api, f"{SERVICES}/{NAME}", available("False", "EndpointsNotFound"))
        await api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
            "metadata": {"name": "w", "labels": {"kubernetes.io/service-name": "wardle"}},
            "addressType": "IPv4",
            "ports": [{"name": "api", "port": extension.port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]
        })  # fmt: skip
        await settled(api, f"{SERVICES}/{NAME}", available("True", "Passed"))
        assert (await api.ask("POST", f"{BASE}/flunders", FLUNDER)).status == 201


async def test_a_certificate_of_another_name_is_refused(api: Served, tmp_path: Path) -> None:
    async with running_extension(api, tmp_path) as extension:
        service = {"metadata": {"name": "other"},
                   "spec": {"type": "ExternalName", "externalName": "localhost"}}  # fmt: skip
        await api.create("/api/v1/namespaces/default/services", service)
        made = api_service(extension.port, caBundle=bundle(tmp_path))
        made["spec"]["service"]["name"] = "other"
        await api.create(SERVICES, made)
        path = f"{SERVICES}/{NAME}"
        found = (await settled(api, path, available("False", "FailedDiscoveryCheck"))).json()
        message = found["status"]["conditions"][0]["message"]
        assert "certificate is not valid for other.default.svc" in message
