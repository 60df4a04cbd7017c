"""Holds watches in a process of its own; says when each object's event has reached the last one.

Reads one JSON object from standard input, writes "ready" and then one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import sys
import time

import uvloop

from tests.bench.http_load import Ask, Connection, Target, connect

_NAME = re.compile(rb'"type":"ADDED","object":\{.*?"name":"([^"]+)"')
_TIMEOUT_S = 90.0


async def main() -> None:
    asked = json.loads(sys.stdin.readline())
    target, expected = Target(**asked["target"]), asked["watchers"] * asked["events"]
    tls = ssl.create_default_context(cafile=target.ca_file)
    last: dict[str, float] = {}
    seen, all_seen = 0, asyncio.Event()

    def follow(line: Connection) -> None:
        rest = b""

        def sink(data: bytes) -> None:
            nonlocal rest, seen
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                if found := _NAME.search(text):
                    last[found[1].decode()] = time.monotonic()
                    seen += 1
            if seen >= expected:
                all_seen.set()

        line.sink = sink

    lines = [await connect(target, tls) for _ in range(asked["watchers"])]
    for line in lines:
        follow(line)
        assert await line.ask(Ask("GET", asked["path"])) == 200
    print("ready", flush=True)  # noqa: T201
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(all_seen.wait(), _TIMEOUT_S)
    for line in lines:
        line.transport.abort()
    print(json.dumps({"last": last, "seen": seen, "expected": expected}))  # noqa: T201


if __name__ == "__main__":
    uvloop.run(main())
