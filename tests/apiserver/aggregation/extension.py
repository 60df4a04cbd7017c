"""A small extension API server, as others write them: delegated authentication and authorization.

It learns whom to trust from the ConfigMap that the API server keeps, believes the front proxy's
headers, asks by TokenReview who a token is, and by SubjectAccessReview who may.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.apiserver.in_process import Served

GROUP, VERSION = "wardle.example.com", "v1alpha1"
BASE = f"/apis/{GROUP}/{VERSION}"
NAME = f"{VERSION}.{GROUP}"
SERVER = "wardle.default.svc"
_FLUNDER = "com.example.wardle.v1alpha1.Flunder"
_KIND = {"group": GROUP, "version": VERSION, "kind": "Flunder"}


def serving_files(folder: Path, name: str = SERVER) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Extension:
    """Serves flunders; `seen` has the headers of all requests, the last one last."""

    def __init__(self, api: Served, token: str, trust: dict[str, str], aggregated: bool) -> None:
        self.port = 0
        self.flunders: dict[str, Any] = {}
        self.seen: list[Any] = []
        # Their names, by namespace.
        self.fischers: dict[str, list[str]] = {}
        self.broken = False
        # In the place of what it serves, by path.
        self.lies: dict[str, bytes] = {}
        self._api = api
        self._token = token
        self._trust = trust
        self._news = asyncio.Condition()
        app = web.Application(middlewares=[self._allowed])
        app.router.add_get("/apis", self._groups if aggregated else self._missing)
        app.router.add_get(BASE, self._resources)
        app.router.add_get("/openapi/v2", self._openapi_v2)
        app.router.add_get("/openapi/v3", self._openapi_v3_index)
        app.router.add_get(f"/openapi/v3{BASE}", self._openapi_v3)
        app.router.add_get(f"{BASE}/flunders", self._list)
        app.router.add_post(f"{BASE}/flunders", self._create)
        app.router.add_delete(f"{BASE}/flunders", self._clear)
        app.router.add_get(f"{BASE}/flunders/{{name}}", self._get)
        app.router.add_get(f"{BASE}/flunders/{{name}}/away", self._away)
        app.router.add_get(f"{BASE}/namespaces/{{namespace}}/fischers", self._fischers)
        app.router.add_delete(f"{BASE}/namespaces/{{namespace}}/fischers/{{name}}", self._release)
        app.router.add_get(f"{BASE}/flunders/{{name}}/talk", self._talk)
        self.app = app

    # Who asks, and whether it may.

    @web.middleware
    async def _allowed(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.broken:
            return web.Response(status=500)
        self.seen.append(request.headers)
        if request.path in self.lies:
            kind = {"content-type": request.headers["Accept"].partition(",")[0]}
            return web.Response(body=self.lies[request.path], headers=kind)
        user = await self._user(request)
        if user is None:
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        if "system:masters" not in user["groups"] and not await self._may(request, user):
            return web.json_response({"kind": "Status", "code": 403}, status=403)
        request["user"] = user
        response: web.StreamResponse = await handler(request)
        return response

    async def _user(self, request: web.Request) -> Any:
        assert request.transport is not None
        tls = request.transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        if der and self._is_front_proxy(x509.load_der_x509_certificate(der)):
            extra: dict[str, list[str]] = {}
            for name, value in request.headers.items():
                if name.lower().startswith("x-remote-extra-"):
                    extra.setdefault(name[15:].lower(), []).append(value)
            return {
                "user": request.headers["X-Remote-User"],
                "uid": request.headers.get("X-Remote-Uid", ""),
                "groups": request.headers.getall("X-Remote-Group", []),
                "extra": extra,
            }
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            return None
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        status = await self._review("authentication.k8s.io/v1/tokenreviews", {
            **review, "spec": {"token": token}})  # fmt: skip
        if not status.get("authenticated"):
            return None
        found = status["user"]
        return {"user": found["username"], "groups": found.get("groups", []), "extra": {}}

    def _is_front_proxy(self, certificate: x509.Certificate) -> bool:
        authority = x509.load_pem_x509_certificate(
            self._trust["requestheader-client-ca-file"].encode()
        )
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError):
            return False
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return names[0].value in json.loads(self._trust["requestheader-allowed-names"])

    async def _may(self, request: web.Request, user: Any) -> bool:
        verb = {"GET": "get", "POST": "create", "DELETE": "deletecollection"}[request.method]
        if verb == "get" and request.path.endswith("/flunders"):
            verb = "watch" if request.query.get("watch") else "list"
        spec = {
            "user": user["user"],
            "groups": user["groups"],
            "extra": user["extra"],
            "resourceAttributes": {"verb": verb, "group": GROUP, "resource": "flunders"},
        }
        if not request.path.startswith(f"{BASE}/"):
            spec.pop("resourceAttributes")
            spec["nonResourceAttributes"] = {"verb": "get", "path": request.path}
        status = await self._review("authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec
        })  # fmt: skip
        return bool(status.get("allowed"))

    async def _review(self, path: str, body: Any) -> Any:
        answer = await self._api.ask("POST", f"/apis/{path}", body, token=self._token)
        assert answer.status == 201, answer.body
        return answer.json()["status"]

    # What it serves.

    async def _missing(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})

    async def _groups(self, request: web.Request) -> web.Response:
        resource = {
            "resource": "flunders",
            "responseKind": _KIND,
            "scope": "Cluster",
            "singularResource": "flunder",
            "verbs": ["create", "deletecollection", "get", "list", "watch"],
            "shortNames": ["fl"],
        }
        other = {
            "resource": "fischers",
            "responseKind": {**_KIND, "kind": "Fischer"},
            "scope": "Namespaced",
            "singularResource": "fischer",
            "verbs": ["delete", "list"],
        }
        versions = [{"version": VERSION, "resources": [resource, other], "freshness": "Current"}]
        body = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "items": [{"metadata": {"name": GROUP}, "versions": versions}],
        }
        kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=json.dumps(body).encode(), headers={"content-type": kind})

    async def _resources(self, request: web.Request) -> web.Response:
        resource = {
            "name": "flunders",
            "singularName": "flunder",
            "namespaced": False,
            "kind": "Flunder",
            "verbs": ["create", "deletecollection", "get", "list", "watch"],
            "shortNames": ["fl"],
        }
        away = {**resource, "name": "flunders/away", "singularName": "", "verbs": ["get"]}
        away.pop("shortNames")
        return web.json_response({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{GROUP}/{VERSION}",
            "resources": [resource, away],
        })  # fmt: skip

    async def _openapi_v2(self, request: web.Request) -> web.Response:
        schema = {"$ref": f"#/definitions/{_FLUNDER}"}
        status = {"description": "not that of Kubernetes", "type": "object"}
        name = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
        operation = {
            "operationId": "readFlunder",
            "responses": {"200": {"description": "OK", "schema": schema}},
            "x-kubernetes-group-version-kind": _KIND,
        }
        definition = {
            "description": "A flunder is a fish.",
            "type": "object",
            "properties": {"size": {"type": "integer"}, "last": {"$ref": f"#/definitions/{name}"}},
            "x-kubernetes-group-version-kind": [_KIND],
        }
        return web.json_response({
            "swagger": "2.0",
            "info": {"title": "wardle", "version": "1"},
            "paths": {f"{BASE}/flunders/{{name}}": {"get": operation}, "/version/": {}},
            "definitions": {_FLUNDER: definition, name: status, "unused": {"type": "string"}},
        })  # fmt: skip

    async def _openapi_v3_index(self, request: web.Request) -> web.Response:
        place = f"apis/{GROUP}/{VERSION}"
        url = f"/openapi/v3/{place}?hash=ABC"
        return web.json_response({"paths": {place: {"serverRelativeURL": url}}})

    async def _openapi_v3(self, request: web.Request) -> web.Response:
        schema = {
            "description": "A flunder is a fish.",
            "type": "object",
            "properties": {"size": {"type": "integer", "description": "In feet."}},
            "x-kubernetes-group-version-kind": [_KIND],
        }
        operation = {"responses": {}, "x-kubernetes-group-version-kind": _KIND}
        return web.json_response({
            "openapi": "3.0.0",
            "info": {"title": "wardle", "version": "1"},
            "paths": {f"{BASE}/flunders/{{name}}": {"get": operation}},
            "components": {"schemas": {_FLUNDER: schema}},
        })  # fmt: skip

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            return await self._watch(request)
        items = list(self.flunders.values())
        kind = {"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}}
        return web.json_response({**kind, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        sent = 0
        while True:
            async with self._news:
                await self._news.wait_for(lambda: len(self.flunders) > sent)  # noqa: B023
            for obj in list(self.flunders.values())[sent:]:
                event = {"type": "ADDED", "object": obj}
                await response.write(json.dumps(event).encode() + b"\n")
                sent += 1

    async def _create(self, request: web.Request) -> web.Response:
        obj = json.loads(await request.read())
        self.flunders[obj["metadata"]["name"]] = obj
        async with self._news:
            self._news.notify_all()
        return web.json_response(obj, status=201, headers={"x-from": "wardle"})

    async def _clear(self, request: web.Request) -> web.Response:
        self.flunders.clear()
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _get(self, request: web.Request) -> web.Response:
        obj = self.flunders.get(request.match_info["name"])
        if obj is None:
            return web.json_response({"kind": "Status", "reason": "NotFound"}, status=404)
        return web.json_response(obj)

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["talk.example.com"])
        await socket.prepare(request)
        await socket.send_str(f"hello {request['user']['user']}")
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket

    async def _fischers(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        items = [
            {"metadata": {"name": name, "namespace": namespace, "uid": name}}
            for name in self.fischers.get(namespace, ())
        ]
        kind = {"kind": "FischerList", "apiVersion": f"{GROUP}/{VERSION}"}
        return web.json_response({**kind, "metadata": {"resourceVersion": "7"}, "items": items})

    async def _release(self, request: web.Request) -> web.Response:
        options = json.loads(await request.read() or b"{}")
        name = request.match_info["name"]
        held = self.fischers[request.match_info["namespace"]]
        if name not in held:
            status = {"kind": "Status", "reason": "NotFound", "message": "no such", "code": 404}
            return web.json_response(status, status=404)
        assert options["preconditions"]["uid"] == name
        held.remove(name)
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _away(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": "https://127.0.0.1:1/"})


@contextlib.asynccontextmanager
async def running_extension(
    api: Served, folder: Path, *, aggregated: bool = True
) -> AsyncIterator[Extension]:
    """The server, with a ServiceAccount that may do what extension servers need."""
    await api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "wardle"}})
    subject = {"kind": "ServiceAccount", "name": "wardle", "namespace": "default"}
    roles = "/apis/rbac.authorization.k8s.io/v1"
    await api.create(f"{roles}/clusterrolebindings", {
        "metadata": {"name": "wardle"},
        "subjects": [subject],
        "roleRef": {"kind": "ClusterRole", "name": "system:auth-delegator",
                    "apiGroup": "rbac.authorization.k8s.io"}})  # fmt: skip
    await api.create(f"{roles}/namespaces/kube-system/rolebindings", {
        "metadata": {"name": "wardle"},
        "subjects": [subject],
        "roleRef": {"kind": "Role", "name": "extension-apiserver-authentication-reader",
                    "apiGroup": "rbac.authorization.k8s.io"}})  # fmt: skip
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/default/serviceaccounts/wardle/token"
    token = (await api.create(path, asked))["status"]["token"]
    extension = Extension(api, token, await _trust(api, token), aggregated)
    certificate, key = serving_files(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    for bundle in ("requestheader-client-ca-file", "client-ca-file"):
        tls.load_verify_locations(cadata=extension._trust[bundle])
    tls.verify_mode = ssl.CERT_OPTIONAL
    runner = web.AppRunner(extension.app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    extension.port = runner.addresses[0][1]
    try:
        yield extension
    finally:
        await runner.cleanup()


async def _trust(api: Served, token: str) -> dict[str, str]:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    async with asyncio.timeout(30):
        while (answer := await api.ask("GET", path, token=token)).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    data: dict[str, str] = answer.json()["data"]
    return data


def bundle(folder: Path, name: str = SERVER) -> str:
    """The certificate of `serving_files`, as an APIService has it."""
    return base64.b64encode((folder / f"{name}.crt").read_bytes()).decode()


def api_service(port: int, **spec: Any) -> dict[str, Any]:
    """The APIService of the flunders."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 2000,
            "versionPriority": 10,
            "service": {"namespace": "default", "name": "wardle", "port": port},
            **spec,
        },
    }
