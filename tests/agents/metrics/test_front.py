"""The metrics server's port, asked as the API server and others ask it."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from agents.metrics.front import Front
from agents.metrics.samples import PodKey, Point, Scrape
from agents.metrics.storage import Storage
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.api.time import ManualClock
from kubraft.delegated_auth import DelegatedAuth, FrontProxy
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.pki import make_pki

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
BASE = "/apis/metrics.k8s.io/v1beta1"
PROXY = "front-proxy-client"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Held:
    """Objects as an informer holds them."""

    def __init__(self, *objects: Object) -> None:
        self._objects = objects

    def get(self, key: ObjectKey) -> Object | None:
        return next((o for o in self._objects if key_of(o) == key), None)

    def list(self, namespace: str = "") -> list[Object]:
        return [o for o in self._objects if namespace in ("", o["metadata"].get("namespace"))]


class Reviewer:
    """Stands in for the API server's reviews: knows one token, and allows bob to list pods."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def create(self, review: Object) -> Object:
        spec = review["spec"]
        self.asked.append(spec)
        if review["kind"] == "TokenReview":
            known = spec["token"] == "bobs"
            return {"status": {"authenticated": known, "user": {"username": "bob"}}}
        attributes = spec.get("resourceAttributes") or {}
        wanted = (spec["user"], attributes.get("verb"), attributes.get("resource"))
        return {"status": {"allowed": wanted == ("bob", "list", "pods")}}


def pod(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}}


class Port:
    """The port, and how to ask it."""

    def __init__(self, port: int, pki: Path, reviewer: Reviewer) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.pki = pki
        self.reviewer = reviewer

    async def ask(
        self,
        path: str,
        certificate: str = PROXY,
        method: str = "GET",
        **headers: str,
    ) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        if certificate:
            context.load_cert_chain(
                self.pki / f"{certificate}.crt", self.pki / f"{certificate}.key"
            )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if certificate == PROXY and "x-remote-user" not in sent:
            sent |= {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, ssl=context, headers=sent) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    pki = tmp_path / "pki"
    pki.mkdir(mode=0o700)
    make_pki(pki, members=(), nodes=(), now=dt.datetime.now(dt.UTC))
    storage = Storage(15)
    for at_s, cpu_s in ((1000.0, 1.0), (1015.0, 2.5)):
        point = Point(at_s, cpu_s, 3 << 20)
        pods = {PodKey("default", name): {"b": point, "a": point} for name in ("web", "db")}
        storage.store("node-0", Scrape(Point(at_s, cpu_s * 4, 2048), pods))
    reviewer = Reviewer()
    client: Any = reviewer
    clock = ManualClock(NOW)
    authority = x509.load_pem_x509_certificate((pki / "front-proxy-ca.crt").read_bytes())
    front = Front(
        storage,
        DelegatedAuth(client, clock, FrontProxy(authority, ("front-proxy-client",))),
        nodes=Held({"metadata": {"name": "node-0"}}, {"metadata": {"name": "node-1"}}),
        pods=Held(pod("web", app="web"), pod("db"), pod("new")),
        now=clock.now,
        is_ready=lambda: True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "metrics-server-server.crt", pki / "metrics-server-server.key")
    context.load_verify_locations(pki / "ca.crt")
    context.load_verify_locations(pki / "front-proxy-ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = GrpcServer(Limits(), http=front.handle)
    number = server.listen("127.0.0.1", 0, context)
    await server.start()
    try:
        yield Port(number, pki, reviewer)
    finally:
        await server.stop(0)


async def test_nodes_and_pods_are_listed(port: Port) -> None:
    status, found = await port.ask(f"{BASE}/nodes")
    assert (status, found["kind"]) == (200, "NodeMetricsList")
    (node,) = found["items"]  # nothing is known of the other yet
    assert node == {
        "metadata": {"name": "node-0", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "timestamp": "1970-01-01T00:16:55Z",
        "window": "15s",
        "usage": {"cpu": "400m", "memory": "2Ki"},
    }
    _, found = await port.ask(f"{BASE}/pods")
    assert [item["metadata"]["name"] for item in found["items"]] == ["db", "web"]
    assert found["items"][1]["containers"] == [
        {"name": name, "usage": {"cpu": "100m", "memory": "3Mi"}} for name in "ab"
    ]
    assert found["items"][1]["metadata"]["labels"] == {"app": "web"}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        pytest.param("/pods?labelSelector=app%3Dweb", ["web"], id="labels"),
        pytest.param("/pods?fieldSelector=metadata.name%3Ddb", ["db"], id="fields"),
        pytest.param("/namespaces/default/pods", ["db", "web"], id="namespace"),
        pytest.param("/namespaces/other/pods", [], id="other-namespace"),
    ],
)
async def test_selections(port: Port, path: str, names: list[str]) -> None:
    status, found = await port.ask(BASE + path)
    assert (status, [item["metadata"]["name"] for item in found["items"]]) == (200, names)


async def test_one_and_none(port: Port) -> None:
    status, found = await port.ask(f"{BASE}/namespaces/default/pods/web")
    assert (status, found["kind"], found["apiVersion"]) == (
        200, "PodMetrics", "metrics.k8s.io/v1beta1"
    )  # fmt: skip
    status, found = await port.ask(f"{BASE}/namespaces/default/pods/new")
    assert (status, found["reason"]) == (404, "NotFound")
    assert found["message"] == 'podmetrics.metrics.k8s.io "default/new" not found'
    _, found = await port.ask(f"{BASE}/namespaces/default/pods/none")
    assert found["message"] == 'pods "none" not found'
    status, found = await port.ask(f"{BASE}/nodes", method="DELETE")
    assert (status, found["reason"]) == (405, "MethodNotAllowed")
    assert (await port.ask(f"{BASE}/pods?labelSelector=a%3D%3D%3D"))[0] == 400
    assert await port.ask(f"{BASE}/boats") == (404, "404 page not found\n")


async def test_tables(port: Port) -> None:
    _, found = await port.ask(f"{BASE}/pods", accept=TABLE)
    assert [column["name"] for column in found["columnDefinitions"]] == [
        "Name", "cpu", "memory", "Window"
    ]  # fmt: skip
    assert found["rows"][1]["cells"] == ["web", "200m", "6Mi", "15s"]


async def test_documents(port: Port) -> None:
    _, found = await port.ask(BASE)
    assert {r["name"]: r["namespaced"] for r in found["resources"]} == {
        "nodes": False, "pods": True
    }  # fmt: skip
    _, index = await port.ask("/openapi/v3")
    url = index["paths"][BASE.strip("/")]["serverRelativeURL"]
    _, document = await port.ask(url)
    assert "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics" in document["components"]["schemas"]


async def test_who_is_let_in(port: Port) -> None:
    path = f"{BASE}/pods"
    assert (await port.ask(path, certificate=""))[0] == 401
    assert (await port.ask(path, certificate="admin"))[0] == 200
    assert (await port.ask(path, certificate="", authorization="Bearer bobs"))[0] == 200
    assert (await port.ask(path, certificate="", authorization="Bearer x"))[0] == 401
    # Only a front proxy is believed what it says of others.
    status, found = await port.ask(path, certificate="scheduler", **{"x-remote-user": "bob"})
    assert status == 403
    assert found["message"].startswith(
        'pods.metrics.k8s.io is forbidden: User "system:kube-scheduler" cannot list resource '
        '"pods" in API group "metrics.k8s.io" at the cluster scope'
    )
    as_bob = {"x-remote-user": "bob"}
    assert (await port.ask(path, **as_bob))[0] == 200
    before = len(port.reviewer.asked)
    assert (await port.ask(path, **as_bob))[0] == 200
    assert len(port.reviewer.asked) == before  # an answer is kept for a while
    assert (await port.ask(f"{BASE}/nodes", **as_bob))[0] == 403
    assert await port.ask("/readyz", certificate="") == (200, "ok")
