"""Pods, Services and nodes through the server: what goes on, what comes back, what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.apiserver.connect.cluster import (
    POD_ADDRESS,
    PODS,
    SERVICES,
    WEBSOCKET,
    Cluster,
    running,
)
from tests.harness.ports import free_port

PAGE = (
    '<html><!-- <a href="/no"> --><script>var a = "<a href=\'/no\'>";</script>'
    "<a class=x href='/up?a=1&amp;b=2'>up</a><a href=down>down</a><img SRC=/i.png>"
    '<a href="//elsewhere/x">away</a></html>'
)


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text=PAGE, content_type="text/html")


async def there(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(request.query["to"])


async def told(request: web.Request) -> web.StreamResponse:
    """What came, as JSON."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "bytes": len(body),
        },
        headers={"access-control-allow-origin": "*", "x-own": "1", "keep-alive": "timeout=5"},
    )


async def talk(request: web.Request) -> web.StreamResponse:
    line = web.WebSocketResponse()
    await line.prepare(request)
    async for message in line:
        if message.type is WSMsgType.TEXT:
            await line.send_str(f"{request.query_string} {message.data}")
            await line.close()
    return line


class Site(Cluster):
    port = 0


@contextlib.asynccontextmanager
async def listening(address: str) -> AsyncIterator[int]:
    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/page", page)
    app.router.add_get("/there", there)
    app.router.add_get("/talk", talk)
    app.router.add_route("*", "/{rest:.*}", told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, address, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


@pytest.fixture
async def site(tmp_path: Path, pki: Path) -> AsyncIterator[Site]:
    async with listening(POD_ADDRESS) as port, running(tmp_path, pki) as made:
        ports = [{"containerPort": port, "name": "web"}]
        await made.pod(spec={"containers": [{"name": "c", "image": "i", "ports": ports}]})
        found = Site(made.served, made.agent)
        found.port = port
        yield found


async def test_requests_go_through_with_what_is_theirs(site: Site) -> None:
    ask, place = site.served.ask, f"{PODS}/web/proxy"
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"):
        answer = await ask(
            method,
            f"{place}/a%20b/../c/d/?x=1&y=%2F",
            b"z" * 70_000,
            headers=[("x-mine", b"1"), ("impersonate-user", b"admin"), ("cookie", b"a=b"),
                     ("impersonate-group", b"system:masters")],
        )  # fmt: skip
        assert answer.status == 200, answer.body
        told_ = answer.json()
        assert (told_["method"], told_["path"]) == (method, "/c/d/?x=1&y=%2F")
        assert told_["bytes"] == 70_000
        headers = told_["headers"]
        assert (headers["x-mine"], headers["cookie"], headers["host"]) == ("1", "a=b", "test")
        assert headers["x-forwarded-uri"] == f"{place}/c/d/"
        assert not {"authorization", "impersonate-user", "accept-encoding"} & headers.keys()
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-own"] == "1"
    head = await ask("HEAD", f"{place}/")
    assert (head.status, head.body) == (200, b"")
    bare = await ask("GET", f"{place}?a=b")
    assert (bare.status, bare.headers["location"]) == (301, f"{place}/?a=b")


async def test_names_with_schemes_and_ports(site: Site) -> None:
    ask, port = site.served.ask, site.port
    ports = [
        {"name": "main", "port": 81, "targetPort": port},
        {"name": "b", "port": 82, "targetPort": "web"},
    ]
    spec = {"selector": {"app": "web"}, "ports": ports}
    await site.served.create(SERVICES, {"metadata": {"name": "front"}, "spec": spec})
    alone = {**spec, "ports": [{"port": 80, "targetPort": port}], "selector": {"app": "nobody"}}
    await site.served.create(SERVICES, {"metadata": {"name": "alone"}, "spec": alone})
    pods, services = PODS, SERVICES
    for path in (
        f"{pods}/web:{port}/proxy/",
        f"{pods}/http:web:{port}/proxy/",
        f"{pods}/web:web/proxy/",
        f"{services}/front:main/proxy/",
        f"{services}/front:82/proxy/",
        f"{services}/http:front:b/proxy/",
    ):
        answer = await ask("GET", path)
        assert answer.status == 200, (path, answer.body)
    for path, code, message in (
        (f"{pods}/ftp:web:80/proxy/", 400, 'invalid pod request "ftp:web:80"'),
        (f"{pods}/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'),
        (f"{pods}/gone/proxy/", 404, 'pods "gone" not found'),
        (f"{services}/front/proxy/", 503, 'no endpoints available for service "front"'),
        (f"{services}/front:9/proxy/", 503, 'no service port 9 found for service "front"'),
        (f"{services}/alone/proxy/", 503, 'no endpoints available for service "alone"'),
        (
            *(f"{pods}/web:1/proxy/", 503),
            f"error trying to reach service: dial tcp {POD_ADDRESS}:1: connect: connection refused",
        ),
    ):
        answer = await ask("GET", path)
        assert (answer.status, answer.json()["message"]) == (code, message)


async def test_nobody_gets_at_this_machine_through_a_pod(site: Site) -> None:
    inside = ("127.0.0.1", "169.254.169.254", "127.71.4.1", "::1", "::ffff:127.0.0.1", "0.0.0.0")
    for index, address in enumerate(inside):
        await site.pod(f"evil-{index}", address=address)
        answer = await site.served.ask("GET", f"{PODS}/evil-{index}:6443/proxy/")
        assert (answer.status, answer.json()["message"]) == (400, "address not allowed")


async def test_links_and_redirects_lead_through_the_proxy(site: Site) -> None:
    ask, place = site.served.ask, f"{PODS}/web/proxy"
    shown = (await ask("GET", f"{place}/page")).body.decode()
    assert shown == PAGE.replace(
        "'/up?a=1&amp;b=2'", f"'{place}/up?a=1&amp;b=2'"
    ).replace("SRC=/i.png", f'SRC="{place}/i.png"')  # fmt: skip
    own = f"http://{POD_ADDRESS}:{site.port}"
    for to, location in (
        ("/x/", f"{place}/x/"),
        (f"{own}/y?z=1", f"{place}/y?z=1"),
        ("http://test/y", f"http://test{place}/y"),
        ("https://elsewhere/y", "https://elsewhere/y"),
        ("relative", "relative"),
    ):
        answer = await ask("GET", f"{place}/there?to={to.replace('?', '%3F')}")
        assert (answer.status, answer.headers.get("location")) == (302, location), answer.body


async def test_a_websocket_goes_through_too(site: Site) -> None:
    async with site.opened(f"{PODS}/web/proxy/talk?a=b", WEBSOCKET[:-1]) as line:
        assert line.status == 101, line.head
        mask = b"\x00\x00\x00\x00"
        line.writer.write(b"\x81\x82" + mask + b"hi")
        assert (await line.reader.readexactly(8)) == b"\x81\x06a=b hi"


async def test_nodes_are_their_agents(site: Site) -> None:
    ask = site.served.ask
    site.agent.refusal = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for name in ("node-0", f"node-0:{site.agent.port}"):
        answer = await ask("GET", f"/api/v1/nodes/{name}/proxy/healthz?a=b")
        assert (answer.status, answer.body) == (200, b"ok")
        assert site.agent.asked[-1].startswith("GET /healthz?a=b HTTP/1.1\r\n")
        assert site.agent.peers[-1] == "kube-apiserver-kubelet-client"
    answer = await ask("GET", f"/api/v1/nodes/node-0:{site.port}/proxy/")
    assert (answer.status, answer.json()["message"]) == (400, "address not allowed")
    assert (await ask("GET", "/api/v1/nodes/node-9/proxy/")).status == 404
    assert (await ask("GET", f"{PODS}/web/proxy/", token="ann-token")).status == 403


async def test_an_answer_comes_as_it_is_made(site: Site) -> None:
    """Of a stream the first part is here before the last is there."""
    go_on: asyncio.Event = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(drip, POD_ADDRESS, 0)
    port: Any = server.sockets[0].getsockname()[1]
    async with server, site.opened(f"{PODS}/web:{port}/proxy/", ()) as line:
        assert line.status == 200
        await line.reader.readuntil(b"first")
        go_on.set()
        await line.reader.readuntil(b"last")
