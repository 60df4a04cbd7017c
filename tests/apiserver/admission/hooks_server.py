"""A webhook server of the test's own: real HTTPS, behaving as well or as badly as it is told."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from kubraft.api.object import Object

Answer = Callable[[dict[str, Any]], Any]


@dataclass
class HookServer:
    """`answers` maps paths to functions of the review's request; `asked` keeps all requests."""

    port: int = 0
    bundle: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    stop_hanging: asyncio.Event = field(default_factory=asyncio.Event)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        review = json.loads(await request.read())
        self.asked.append((request.path, review["request"]))
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        made = self.answers[request.path](review["request"])
        if isinstance(made, web.StreamResponse):
            return made
        if made == "hang":
            await self.stop_hanging.wait()
            made = {}
        if isinstance(made, bytes):
            return web.Response(body=made, content_type="application/json")
        response = {"uid": review["request"]["uid"], "allowed": True, **made}
        return web.json_response(
            {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
        )

    def hook(self, path: str, name: str = "", **fields: Any) -> dict[str, Any]:
        """A webhook for Pods that are created."""
        rule = {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
        }
        url = f"https://127.0.0.1:{self.port}{path}"
        return {
            "name": name or f"{path.strip('/')}.hooks.test",
            "rules": [rule],
            "clientConfig": {"url": url, "caBundle": self.bundle},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **fields,
        }


def namespace(name: str, **labels: str) -> Object:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """What a response has beside `allowed` where it changes the object."""
    encoded = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"patch": encoded, "patchType": "JSONPatch"}


def label(name: str, value: str) -> dict[str, Any]:
    """A patch that sets a label."""
    return patch(
        {"op": "test", "path": "/kind", "value": "Pod"},
        {"op": "add", "path": f"/metadata/labels/{name}", "value": value},
    )


def configuration(kind: str, *hooks: dict[str, Any], name: str = "hooks") -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(hooks),
    }


@asynccontextmanager
async def serving(pki: Path) -> AsyncIterator[HookServer]:
    server = HookServer(bundle=base64.b64encode((pki / "ca.crt").read_bytes()).decode())
    app = web.Application(client_max_size=8 << 20)
    app.router.add_post("/{path:.*}", server.handle)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.stop_hanging.set()
        await runner.cleanup()
