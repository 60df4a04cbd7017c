"""Paths, headers, tokens of the wrong kind, and HTTP/2 put to bad use, over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import http2_exchange
from tests.apiserver.hostile.lines import (
    CONFIG_MAPS,
    answer,
    check_at_rest,
    check_serves,
    check_status,
    fields,
    head,
    http2,
    line,
    request,
)
from tests.apiserver.in_process import Served
from tests.kubraft.grpc_server.raw import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRETS = "/api/v1/namespaces/kube-system/secrets"


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/api/../metrics",
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fkube-system%2fsecrets",
        "/api/v1/namespaces/..%2fkube-system/secrets",
        "/api/v1/namespaces//secrets",
        "/api/v1//namespaces/default/configmaps",
        "//api/v1/namespaces",
        "/api/v1/namespaces/default/configmaps/a%00b",
        "/api/v1/namespaces/default/configmaps/a%2fb",
        "/api/v1/namespaces/default/configmaps/%252e",
        "/api/v1/namespaces/default/configmaps/%ff%fe",
        "/api/v1/namespaces/default/configmaps/%zz",
        "/api/v1/namespaces/default/configmaps/" + "a" * 5000,
        "/api/v1/namespaces/default/configmaps/x/y/z/w",
        "/api/v1/namespaces/default/configmaps/" + "/".join("x" * 100),
        "/api/v1/namespaces/default/configmaps;a=b",
        "/api/v1/namespaces/default\\configmaps",
        "/API/V1/namespaces",
        "/apis/apps/v1",
        "/openapi/v3/../../metrics",
        "/openapi/v3/apis/apps/v1?hash=%0d%0aEvil:%20x",
        "/nowhere?" + "&".join(f"a{n}=1" for n in range(500)),
        "/version?" + "x" * 40_000,
        "*",
        "http://elsewhere/api/v1/namespaces/default/configmaps",
    ],
)
async def test_a_path_leads_where_it_says_or_nowhere(served: Served, path: str) -> None:
    async with line(served) as client:
        client.send(request("GET", path))
        status, found = await answer(client)
        assert status in (200, 301, 400, 403, 404), found
        assert "root:" not in str(found)
        if isinstance(found, dict) and status >= 400:
            check_status(found, status)
        for method in ("DELETE", "PUT", "PATCH", "POST", "TRACE", "CONNECT"):
            async with line(served) as other:
                other.send(request(method, path, b"{}"))
                try:
                    status, found = await answer(other)
                except asyncio.IncompleteReadError:
                    continue
                assert status in (200, 301, 400, 403, 404, 405, 415, 422), (method, found)


async def test_a_name_that_ends_its_segment_is_another_segment_for_nobody(served: Served) -> None:
    """Who may read one namespace cannot name another through it."""
    for path in (
        f"{CONFIG_MAPS}/..%2f..%2fkube-system%2fsecrets",
        "/api/v1/namespaces/x%2fsecrets",
    ):
        async with line(served) as client:
            client.send(head("GET", path, "content-length: 0", token="bob-token"))
            assert (await answer(client))[0] in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([f"x-{n}: {'y' * 100}" for n in range(2000)], id="many"),
        pytest.param(["x: " + "y" * 100_000], id="large"),
        pytest.param(["authorization: Bearer " + "y" * 100_000], id="large-token"),
        pytest.param(["y" * 100_000], id="no-colon"),
    ],
)
async def test_header_floods_are_431(served: Served, headers: list[str]) -> None:
    async with line(served) as client:
        client.send(head("GET", "/version", *headers))
        try:
            status, _ = await answer(client)
            assert status in (400, 431)
            assert await client.ended()
        except ConnectionError:
            pass  # cut off while it was still sending
    async with http2(served) as client:
        found = [(each.partition(": ")[0][:200].lower(), each[:60_000]) for each in headers]
        block = client.encoder.encode([*fields("GET", "/version"), *found, *found])
        client.send(f.frame(f.HEADERS, f.END_STREAM, 1, block[:16_000]))
        for at in range(16_000, len(block), 16_000):
            client.send(f.frame(f.CONTINUATION, 0, 1, block[at : at + 16_000]))
        client.send(f.frame(f.CONTINUATION, f.END_HEADERS, 1, b""))
        _, _, stream, answered = await client.until(f.HEADERS)
        assert (stream, client.decoded(answered)[":status"]) == (1, "431")
        await client.until(f.GOAWAY)
    await check_serves(served)


@pytest.mark.parametrize(
    "headers",
    [
        ["accept: " + "application/json," * 2000],
        ["accept: application/json;as=Table;g=meta.k8s.io;v=v9"],
        ["accept: ;;;,,,;q=x"],
        ["accept-encoding: gzip;q=-1, \x7f"],
        ["content-type: application/vnd.kubernetes.protobuf"],
        ["content-type: ;;"],
        ["if-none-match: " + '"' * 5000],
        ["audit-id: " + "\xe9" * 500],
        ["user-agent: " + "\xff\xfe" * 500],
        ["expect: 200-maybe"],
        ["upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAMAAABk"],
        ["x-forwarded-for: " + "1," * 3000],
        ["impersonate-user: \xe9", "impersonate-group: %00"],
        ["impersonate-user: a", "impersonate-extra-%zz%ff: b"],
    ],
)
async def test_odd_headers_are_read_or_refused(served: Served, headers: list[str]) -> None:
    for method, path in (("GET", CONFIG_MAPS), ("POST", CONFIG_MAPS), ("GET", "/openapi/v2")):
        async with line(served) as client:
            client.send(head(method, path, "content-length: 2", *headers) + b"{}")
            status, found = await answer(client)
            assert status < 500, found


async def test_old_tls_is_refused(served: Served) -> None:
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            tls.minimum_version = tls.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", served.port, ssl=tls)
    await check_serves(served)


def asked(client: Client, stream: int, path: str) -> bytes:
    return client.block(stream, fields("GET", path), f.END_HEADERS | f.END_STREAM)


async def check_calmed(client: Client) -> None:
    _, _, _, payload = await client.until(f.GOAWAY)
    assert int.from_bytes(payload[4:8], "big") == f.ENHANCE_YOUR_CALM
    assert await client.ended()


async def test_rapid_resets_end_the_connection_and_hold_no_seat(served: Served) -> None:
    async with http2(served) as client:
        for stream in range(1, 12_001, 2):
            client.send(asked(client, stream, SECRETS), f.reset(stream, f.CANCEL))
        await check_calmed(client)
    await check_at_rest(served)
    await check_serves(served)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(f.frame(f.PING, 0, 0, bytes(8)) * 20_000, id="pings"),
        pytest.param(f.settings({f.SETTING_WINDOW: 1}) * 5000, id="settings"),
        pytest.param(f.frame(f.PRIORITY, 0, 1, bytes(5)) * 5000, id="priorities"),
        pytest.param(
            f.frame(f.HEADERS, 0, 1, b"") + f.frame(f.CONTINUATION, 0, 1, b"") * 1000,
            id="continuations",
        ),
        pytest.param(f.window_update(0, 1) * 5000 + f.window_update(0, 0), id="window-updates"),
    ],
)
async def test_floods_of_frames_end_the_connection(served: Served, flood: bytes) -> None:
    async with http2(served) as client:
        client.send(flood)
        await client.until(f.GOAWAY)
        assert await client.ended()
    await check_serves(served)


async def test_who_opens_no_window_gets_nothing_and_holds_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_exchange, "WRITE_TIMEOUT_S", 0.5)
    async with line(served, "h2") as client:
        client.send(f.PREFACE, f.settings({f.SETTING_WINDOW: 0}))
        for stream in range(1, 401, 2):
            client.send(asked(client, stream, "/apis/rbac.authorization.k8s.io/v1/clusterroles"))
        small = asked(client, 401, "/version")
        client.send(small)
        resets = set()
        while 401 not in resets:
            _, _, stream, _ = await client.until(f.RST_STREAM)
            resets.add(stream)
    await check_at_rest(served)
    await check_serves(served)


async def test_more_streams_than_are_offered_are_refused_each(served: Served) -> None:
    async with line(served, "h2") as client:
        client.send(f.PREFACE, f.settings({}))
        _, _, _, payload = await client.until(f.SETTINGS)
        most = dict(f.parse_settings(payload))[f.SETTING_STREAMS_MAX]
        watch = f"{CONFIG_MAPS}?watch=1"
        for stream in range(1, 2 * most + 20, 2):
            client.send(asked(client, stream, watch))
        _, _, stream, code = await client.until(f.RST_STREAM)
        assert stream == 2 * most + 1
        assert int.from_bytes(code, "big") == f.REFUSED_STREAM
        await check_serves(served)
    await check_at_rest(served)


async def test_hundreds_of_idle_connections_slow_nobody_down(served: Served) -> None:
    tls = ssl.create_default_context(cafile=served.pki / "ca.crt")
    held = []
    try:
        for _ in range(6):
            held += await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", served.port, ssl=tls) for _ in range(50))
            )
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(20):
            await check_serves(served)
        assert loop.time() - began < 30
    finally:
        for _, writer in held:
            writer.transport.abort()
    await check_at_rest(served)


async def test_a_forged_token_costs_one_answer_and_tells_nothing(served: Served) -> None:
    async with line(served) as client:
        for token in ("x" * 20_000, "a.b.c", "eyJhbGciOiJub25lIn0.e30."):
            client.send(head("GET", SECRETS, "content-length: 0", token=token))
            status, found = await answer(client)
            assert status == 401
            assert json.dumps(found).find(token[:20]) < 0
            check_status(found, 401, "Unauthorized")
