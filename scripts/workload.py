"""Clients that keep a cluster busy and remember what they were promised, for demo, chaos and tests.

`Writer` creates ConfigMaps one after another and keeps the names of those that were acknowledged.
`WebClients` send requests to the ready Pods of an application, chosen by a watch on Pods, and
never send one twice.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from kubraft.api.errors import ApiError
from kubraft.api.gvk import CONFIG_MAP, POD
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_pod_ready
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer

WEB_PORT: Final = 8080
WORKER_LABEL: Final = "kubraft.dev/workload"
_REQUEST_TIMEOUT_S: Final = 3.0
_ANSWER_BYTES_MAX: Final = 4096
_PAUSE_S: Final = 0.02


@dataclass(slots=True)
class Writer:
    """Creates ConfigMaps NAME-0, NAME-1, ... in `namespace`; one attempt each."""

    client: ApiClient
    namespace: str
    name: str = "write"
    acknowledged: list[str] = field(default_factory=list)
    failed: int = 0
    _acknowledged_at_s: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Write until cancelled."""
        for number in itertools.count():
            name = f"{self.name}-{number}"
            labels = {WORKER_LABEL: self.name}
            metadata = {"name": name, "namespace": self.namespace, "labels": labels}
            try:
                await self.client.create(
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
                )
            except ApiError:
                self.failed += 1
            else:
                self.acknowledged.append(name)
                self._acknowledged_at_s.append(time.monotonic())
            await asyncio.sleep(_PAUSE_S)

    def longest_gap_s(self, since_s: float) -> float:
        """The longest time without an acknowledgement after `since_s`, up to now."""
        after = [at_s for at_s in self._acknowledged_at_s if at_s >= since_s]
        times = [since_s, *after, time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def acknowledged_since(self, since_s: float) -> int:
        """How many writes were acknowledged after `since_s`."""
        return sum(at_s >= since_s for at_s in self._acknowledged_at_s)

    async def lost(self) -> list[str]:
        """Names that were acknowledged and that a linearizable list does not have."""
        selector = f"{WORKER_LABEL}={self.name}"
        listed = await self.client.list(CONFIG_MAP, self.namespace, label_selector=selector)
        there = {item["metadata"]["name"] for item in listed.items}
        return [name for name in self.acknowledged if name not in there]


@dataclass(slots=True)
class WebClients:
    """Requests to the ready Pods that match a selector, in turn; none is ever repeated."""

    pods: Informer
    answered: Counter[str] = field(default_factory=Counter)  # by the version that answered
    failures: list[str] = field(default_factory=list)
    without_pod: int = 0
    _turn: int = 0

    @classmethod
    def of(cls, client: ApiClient, namespace: str, selector: str) -> WebClients:
        return cls(Informer(client, POD, namespace=namespace, label_selector=selector))

    async def run(self, workers: int = 4) -> None:
        """Send requests until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pods.run())
            await self.pods.wait_synced()
            for _ in range(workers):
                tasks.create_task(self._work())

    def endpoints(self) -> list[Object]:
        """The Pods that requests go to now."""
        ready = [pod for pod in self.pods.list() if is_pod_ready(pod) and not is_terminating(pod)]
        return sorted(ready, key=lambda pod: str(pod["metadata"]["name"]))

    @property
    def total(self) -> int:
        return sum(self.answered.values())

    async def _work(self) -> None:
        while True:
            endpoints = self.endpoints()
            if endpoints:
                self._turn += 1
                await self._request(endpoints[self._turn % len(endpoints)])
            else:
                self.without_pod += 1
            await asyncio.sleep(_PAUSE_S)

    async def _request(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        try:
            answer = await fetch(pod["status"]["podIP"])
        except (OSError, TimeoutError, ValueError) as error:
            self.failures.append(f"{name}: {error!r}")
        else:
            self.answered[answer.get("version", "")] += 1


async def fetch(address: str, path: str = "/", *, port: int = WEB_PORT) -> dict[str, str]:
    """GET from a Pod of kubraft/web, or from its Service; its answer's lines as names and values.

    Raises:
        OSError: no connection, or it broke.
        TimeoutError: no answer within 3 s.
        ValueError: the answer is not 200.
    """
    async with asyncio.timeout(_REQUEST_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            answer = (await reader.read(_ANSWER_BYTES_MAX)).decode()
        finally:
            writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    status = head.partition("\r\n")[0]
    if " 200 " not in f"{status} ":
        raise ValueError(f"answered {status!r}")
    return dict(line.split(": ", 1) for line in body.splitlines() if ": " in line)
