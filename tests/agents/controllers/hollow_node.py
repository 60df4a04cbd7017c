"""A scheduler and nodes without containers: Pods are bound, run and end by their status alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import cycle

from agents.controllers.daemon_set.placement import target_of
from kubraft.api.errors import (
    ApiError,
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
)
from kubraft.api.gvk import LEASE, NODE, POD
from kubraft.api.object import Object, is_terminating, key_of, uid_of
from kubraft.api.pods import node_of, phase_of
from kubraft.api.time import SystemClock, format_micro_time, format_time
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer

_CLOCK = SystemClock()
_RENEW_S = 0.5
# Pods of this image never get ready.
BROKEN = "broken"
# Pods of these end at once; long ago, they say, so that no back-off holds a test up.
DONE, FAILS = "done", "fails"
_LONG_AGO = "2026-01-01T00:00:00Z"


def _ready(status: str) -> Object:
    now = format_time(_CLOCK.now())
    return {
        "type": "Ready",
        "status": status,
        "reason": "KubeletReady",
        "message": "hollow",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


class HollowNode:
    """Registers its Node, renews its Lease, and runs the Pods bound to it."""

    def __init__(self, client: ApiClient, name: str) -> None:
        self.name = name
        self._client = client

    async def run(self) -> None:
        await self._register()
        informer = Informer(self._client, POD, field_selector=f"spec.nodeName={self.name}")
        async with asyncio.TaskGroup() as group:

            def on_pod(_old: Object | None, new: Object | None) -> None:
                if new is not None:
                    group.create_task(self._sync(new))

            informer.add_handler(on_pod)
            group.create_task(informer.run())
            group.create_task(self._renew())

    async def _register(self) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}}
        with contextlib.suppress(ApiError):
            await self._client.create(node)
        await self._client.patch(
            NODE, self.name, {"status": {"conditions": [_ready("True")]}}, "", "status"
        )

    async def _renew(self) -> None:
        while True:
            now = format_micro_time(_CLOCK.now())
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": 4, "renewTime": now}
            try:
                await self._client.patch(LEASE, self.name, {"spec": spec}, "kube-node-lease")
            except (ServiceUnavailableError, TimeoutError_):
                pass  # the API server is away
            except NotFoundError:
                metadata = {"name": self.name, "namespace": "kube-node-lease"}
                await self._client.create(
                    {
                        "apiVersion": LEASE.api_version,
                        "kind": "Lease",
                        "metadata": metadata,
                        "spec": spec,
                    }
                )
            await asyncio.sleep(_RENEW_S)

    async def _sync(self, pod: Object) -> None:
        key = key_of(pod)
        with contextlib.suppress(NotFoundError, ConflictError):
            if is_terminating(pod):
                await self._client.delete(
                    POD, key.name, key.namespace, grace_period_s=0, uid=uid_of(pod)
                )
            elif phase_of(pod) == "Pending":
                status = _status(pod["spec"]["containers"][0])
                await self._client.patch(POD, key.name, {"status": status}, key.namespace, "status")


def _status(container: Object) -> Object:
    image, name = container["image"], container["name"]
    if image in (DONE, FAILS):
        ended = {"exitCode": int(image == FAILS), "finishedAt": _LONG_AGO}
        statuses = [{
            "name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0,
            "state": {"terminated": ended},
        }]  # fmt: skip
        phase = "Failed" if image == FAILS else "Succeeded"
        return {"phase": phase, "containerStatuses": statuses}
    conditions = [_ready("False" if BROKEN in image else "True")]
    del conditions[0]["lastHeartbeatTime"]
    return {"phase": "Running", "podIP": "127.64.0.9", "conditions": conditions}


async def bind_pods(client: ApiClient, namespace: str, nodes: list[str]) -> None:
    """Give each Pod that has no node to the next of `nodes`, a list that may change meanwhile."""
    informer = Informer(client, POD, namespace=namespace)
    turns = cycle(range(1000))

    async def bind(pod: Object) -> None:
        with contextlib.suppress(ApiError):
            await client.bind(pod, target_of(pod) or nodes[next(turns) % len(nodes)])

    async with asyncio.TaskGroup() as group:

        def on_pod(old: Object | None, new: Object | None) -> None:
            if old is None and new is not None and not node_of(new) and not is_terminating(new):
                group.create_task(bind(new))

        informer.add_handler(on_pod)
        group.create_task(informer.run())


@contextlib.asynccontextmanager
async def running(*work: object) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run coroutines beside the test."""
    tasks = [asyncio.ensure_future(each) for each in work]  # type: ignore[call-overload]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
