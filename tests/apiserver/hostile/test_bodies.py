"""Bodies and framing that mean harm, over TLS: each is refused, and nothing is carried out."""

from __future__ import annotations

import asyncio
import json

import pytest

from kubraft.grpc_server import exchange, http1
from tests.apiserver.hostile.lines import (
    CONFIG_MAPS,
    answer,
    check_at_rest,
    check_serves,
    check_status,
    head,
    line,
    request,
)
from tests.apiserver.in_process import Served

LIMIT = 3 * 1024 * 1024
TOO_LARGE = f"Request entity too large: limit is {LIMIT}"
JSON = "content-type: application/json"
ELSEWHERE = CONFIG_MAPS.replace("default", "kube-system")
GOOD = {"metadata": {"name": "x"}, "data": {"a": "b"}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(b"", 400, "", id="nothing"),
        pytest.param(b"{", 400, "", id="cut-short"),
        pytest.param(b'{"metadata":' * 5000, 400, "", id="deep-and-open"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, 400, "", id="deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, 400, "", id="deep-lists"),
        pytest.param(b'{"data":{"a":"\xff\xfe"}}', 400, "", id="not-utf-8"),
        pytest.param(b'{"data":{"a":"\\ud800"}}', 400, "", id="half-a-surrogate"),
        pytest.param(b'{"metadata":{"name":"x"}}\0', 400, "", id="nul-behind"),
        pytest.param(b"[]", 400, "must be an object", id="list"),
        pytest.param(b"null", 400, "must be an object", id="null"),
        pytest.param(b'{"metadata":[]}', 400, "", id="metadata-is-a-list"),
        pytest.param(b'{"metadata":{"name":1}}', 400, "", id="name-is-a-number"),
        pytest.param(b'{"metadata":{"name":"x"},"data":{"a":1}}', 400, "", id="number-for-text"),
        pytest.param(b'{"kind":"Secret","metadata":{"name":"x"}}', 400, "", id="another-kind"),
        pytest.param(b'{"metadata":{"name":"x"},"data":1e999}', 400, "", id="no-number"),
        pytest.param(b"\x1f\x8b\x08", 400, "", id="gzip"),
    ],
)
async def test_a_body_that_is_no_object(
    served: Served, body: bytes, code: int, message: str
) -> None:
    async with line(served) as client:
        client.send(request("POST", CONFIG_MAPS, body))
        status, found = await answer(client)
        assert status == code, found
        check_status(found, code, message)
        client.send(request("GET", CONFIG_MAPS))  # the connection is as good as before
        assert (await answer(client))[1]["items"] == []


async def test_fields_that_come_twice_are_told_or_refused(served: Served) -> None:
    body = b'{"metadata":{"name":"x"},"data":{"a":"1"},"data":{"a":"2"}}'
    async with line(served) as client:
        client.send(request("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body))
        status, found = await answer(client)
        assert status == 400
        check_status(found, 400, 'duplicate field "data"')


async def test_a_body_beyond_the_limit_is_413_however_it_comes(served: Served) -> None:
    async with line(served) as client:
        client.send(head("POST", CONFIG_MAPS, JSON, f"content-length: {LIMIT + 1}"))
        status, found = await answer(client)
        assert status == 413
        check_status(found, 413, TOO_LARGE)
    async with line(served) as client:
        client.send(head("POST", CONFIG_MAPS, JSON, "content-length: 999999999999999999"))
        check_status((await answer(client))[1], 413, TOO_LARGE)
    async with line(served) as client:
        client.send(head("POST", CONFIG_MAPS, JSON, "transfer-encoding: chunked"))
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(LIMIT // 0x10000 + 1):
            client.send(chunk)
        check_status((await answer(client))[1], 413, TOO_LARGE)
        assert await client.ended()
    await check_at_rest(served)


async def test_the_largest_body_is_read(served: Served) -> None:
    body = json.dumps(GOOD).encode()
    async with line(served) as client:
        client.send(request("POST", f"{CONFIG_MAPS}?dryRun=All", body.ljust(LIMIT)))
        assert (await answer(client))[0] == 201


SMUGGLED = request("POST", CONFIG_MAPS, json.dumps(GOOD).encode())


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(
            head("POST", CONFIG_MAPS, JSON, "content-length: 5", "transfer-encoding: chunked")
            + b"0\r\n\r\n",
            id="both-lengths",
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "content-length: 5", "content-length: 0"), id="two-lengths"
        ),
        pytest.param(head("POST", CONFIG_MAPS, "content-length: 0, 5"), id="list-of-lengths"),
        pytest.param(head("POST", CONFIG_MAPS, "content-length: +0"), id="signed-length"),
        pytest.param(head("POST", CONFIG_MAPS, "content-length: 0x0"), id="hexadecimal-length"),
        pytest.param(head("POST", CONFIG_MAPS, "content-length : 0"), id="space-before-colon"),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: chunked, identity") + b"0\r\n\r\n",
            id="identity-last",
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: xchunked") + b"0\r\n\r\n",
            id="unknown-coding",
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding:\x0bchunked") + b"0\r\n\r\n",
            id="odd-white-space",
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: chunked") + b"0x0\r\n\r\n", id="0x0"
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: chunked") + b"-1\r\n\r\n", id="minus"
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: chunked") + b"FFFFFFFFFFFFFFFFF\r\n\r\n",
            id="overflow",
        ),
        pytest.param(
            head("POST", CONFIG_MAPS, "transfer-encoding: chunked") + b"0\n\n", id="bare-line-feed"
        ),
        pytest.param(b"GET /api HTTP/1.1\nhost: x\n\n", id="line-feeds"),
        pytest.param(head("GET", "/api", "x: a", " b: c"), id="folded"),
        pytest.param(head("GET", "/api", "x: \0"), id="nul"),
        pytest.param(head("GET", "/api x"), id="space-in-target"),
        pytest.param(b"GET http:// HTTP/1.1\r\n\r\n", id="no-host"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="tls-in-tls"),
        pytest.param(b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", id="version-of-tomorrow"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_read_in_none(served: Served, first: bytes) -> None:
    async with line(served) as client:
        client.send(first, SMUGGLED)
        try:
            status, _ = await answer(client)
            assert status in (400, 501, 505)
            assert await client.ended()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # ended without a word
    found = await served.ask("GET", CONFIG_MAPS)
    assert found.json()["items"] == []


async def test_bodies_that_never_come_and_clients_that_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "BODY_TIMEOUT_S", 0.5)
    async with line(served) as client:
        client.send(head("POST", CONFIG_MAPS, JSON, "content-length: 100"), b"{")
        status, found = await answer(client)
        assert status == 504
        check_status(found, 504, "took too long to come")
    for sent in (
        head("POST", CONFIG_MAPS, JSON, "content-length: 100") + b"{",
        head("POST", CONFIG_MAPS, JSON)[:-9],
        head("GET", f"{CONFIG_MAPS}?watch=1"),
        request("GET", CONFIG_MAPS) * 50,
    ):
        for _ in range(10):
            async with line(served) as client:
                client.send(sent)
                await asyncio.sleep(0)
    await check_at_rest(served)
    await check_serves(served)


async def test_who_reads_nothing_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "WRITE_TIMEOUT_S", 0.5)
    await served.create(ELSEWHERE, {**GOOD, "data": {"a": "x" * 900_000}})
    async with line(served) as watcher, line(served) as lister:
        watcher.send(request("GET", f"{ELSEWHERE}?watch=1"))
        assert (await asyncio.wait_for(watcher.reader.readline(), 30)).startswith(b"HTTP/1.1 200")
        for client in (watcher, lister):
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        lister.send(request("GET", ELSEWHERE) * 40)
        for count in range(30):
            changed = {**GOOD, "data": {"a": f"{count}" + "x" * 900_000}}
            assert (await served.ask("PUT", f"{ELSEWHERE}/x", changed)).status == 200
        await check_at_rest(served)
    await check_serves(served)
