"""How fast a change reaches those who watch: one key and many watchers, many keys and one."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.bench.bench_store_client import Client, EventCounter, call_all, connect
from tests.bench.bench_store_load import Figure, transactions
from tests.e2e.store_cluster import StoreCluster

WATCHERS = 1000
KEYS = 1000
_CONNECTIONS = 9
_PREFIX = b"watched/"
_ONE = _PREFIX + b"%012d" % 0
# Changes one after the other, for the latency; and as fast as they go, for events a second.
_SINGLE = 60
_BURST_ONE_KEY = 150
_BURST_MANY_KEYS = 200


class Watchers:
    """Streams of one watch each, over some connections, and how many events they all had."""

    def __init__(self) -> None:
        self._counters: dict[tuple[Client, int], EventCounter] = {}
        self._clients: list[Client] = []
        self._unmade = 0
        self._all_made = asyncio.Event()
        self._events = 0
        self._target = 0
        self._reached = asyncio.Event()

    async def open(self, urls: list[str], count: int, request: rpc_pb2.WatchRequest) -> None:
        """Begin so many watches, and wait until all of them are made."""
        self._unmade = count
        for number in range(min(count, _CONNECTIONS)):
            client = await connect(urls[number % len(urls)])
            client.on_message = self._taker(client)
            self._clients.append(client)
        for number in range(count):
            client = self._clients[number % len(self._clients)]
            head = client.head("/etcdserverpb.Watch/Watch")
            stream = client.begin(head, request.SerializeToString(), None)
            self._counters[client, stream] = EventCounter()
        async with asyncio.timeout(60):
            await self._all_made.wait()

    def _taker(self, client: Client) -> Callable[[int, bytes], None]:
        seen: set[int] = set()

        def take(stream: int, payload: bytes) -> None:
            if stream not in seen:
                seen.add(stream)
                self._unmade -= 1
                if not self._unmade:
                    self._all_made.set()
            self._events += self._counters[client, stream].feed(payload)
            if self._events >= self._target:
                self._reached.set()

        return take

    def expect(self, more: int) -> None:
        self._target = self._events + more
        self._reached.clear()

    async def all_came(self) -> None:
        async with asyncio.timeout(60):
            await self._reached.wait()

    def close(self) -> None:
        for client in self._clients:
            client.close()


async def measure(cluster: StoreCluster, *, watchers: int, keys: int) -> Figure:
    """Events a second over all watchers, and how long one change takes to the last of them."""
    urls = [cluster.client_url(name) for name in cluster.names]
    watching, writer = Watchers(), await connect(cluster.client_url(cluster.leader()))
    request = rpc_pb2.WatchRequest()
    request.create_request.key = _ONE if keys == 1 else _PREFIX
    if keys > 1:
        request.create_request.range_end = b"watched0"
    await watching.open(urls if watchers > 1 else urls[-1:], watchers, request)
    latencies = []
    for _ in range(_SINGLE):
        watching.expect(watchers)
        began = time.perf_counter()
        await _write(writer, transactions(range(1), size=256, prefix=_PREFIX), 1)
        await watching.all_came()
        latencies.append(1000 * (time.perf_counter() - began))
    burst, count = _one_key(), _BURST_ONE_KEY
    if keys > 1:
        burst, count = _many_keys(keys), _BURST_MANY_KEYS * 50
    watching.expect(watchers * count)
    began = time.perf_counter()
    await _write(writer, burst, 16)
    await watching.all_came()
    took = time.perf_counter() - began
    watching.close()
    writer.close()
    cuts = statistics.quantiles(latencies, n=100)
    return Figure(watchers * count / took, cuts[49], cuts[98], 0.0)


async def _write(client: Client, requests: Iterator[bytes], in_flight: int) -> None:
    await call_all([client], "/etcdserverpb.KV/Txn", requests, in_flight=in_flight)


def _one_key() -> Iterator[bytes]:
    for _ in range(_BURST_ONE_KEY):
        yield from transactions(range(1), size=256, prefix=_PREFIX)


def _many_keys(keys: int) -> Iterator[bytes]:
    for number in range(_BURST_MANY_KEYS):
        first = number * 50 % keys
        yield from transactions(range(first, first + 50), size=256, prefix=_PREFIX)
