from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from agents.node.cri_client import RuntimeCallError
from agents.node.lifecycle_events import LifecycleEvents
from agents.node.pod_view import POD_UID
from agents.node.runtime_picture import RuntimePicture
from kubraft.api.time import SystemClock
from kubraft.pb.criv1 import api_pb2 as cri


def sandbox(uid: str, *, ready: bool = True) -> cri.PodSandbox:
    state = cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY
    return cri.PodSandbox(id=f"s-{uid}", state=state, labels={POD_UID: uid} if uid else {})


def container(uid: str, state: cri.ContainerState.ValueType) -> cri.Container:
    return cri.Container(id=f"c-{uid}", state=state, labels={POD_UID: uid})


RUNS, ENDED = cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        pytest.param([sandbox("a")], [sandbox("a")], set(), id="nothing"),
        pytest.param([], [sandbox("a")], {"a"}, id="new"),
        pytest.param([sandbox("a"), sandbox("b")], [sandbox("b")], {"a"}, id="gone"),
        pytest.param([sandbox("a")], [sandbox("a", ready=False)], {"a"}, id="sandbox ended"),
        pytest.param([sandbox("")], [], set(), id="not a Pod's"),
    ],
)
def test_the_pods_that_changed(
    before: list[cri.PodSandbox], after: list[cri.PodSandbox], changed: set[str]
) -> None:
    old = RuntimePicture.of(before, [container("z", RUNS)])
    new = RuntimePicture.of(after, [container("z", RUNS)])
    assert new.changed_since(old) == changed


def test_a_container_that_ended_is_a_change() -> None:
    old = RuntimePicture.of([sandbox("a")], [container("a", RUNS)])
    new = RuntimePicture.of([sandbox("a")], [container("a", ENDED)])
    assert new.changed_since(old) == {"a"}


def refused(code: grpc.StatusCode) -> RuntimeCallError:
    return RuntimeCallError(AioRpcError(code, Metadata(), Metadata(), "no", None))


class WithoutStream:
    """A runtime that CRI allows: it lists, and has no events."""

    def __init__(self) -> None:
        self.containers_now = [container("a", RUNS)]
        self.away = False

    async def events(self) -> AsyncIterator[None]:
        if self.containers_now:
            raise refused(grpc.StatusCode.UNIMPLEMENTED)
        yield

    async def status(self) -> cri.StatusResponse:
        if self.away:
            raise refused(grpc.StatusCode.UNAVAILABLE)
        return cri.StatusResponse()

    async def sandboxes(self) -> list[cri.PodSandbox]:
        if self.away:
            raise refused(grpc.StatusCode.UNAVAILABLE)
        return [sandbox("a")]

    async def containers(self) -> list[cri.Container]:
        return self.containers_now


async def test_a_runtime_without_a_stream_is_looked_at() -> None:
    runtime, pods, health = WithoutStream(), asyncio.Queue[str](), asyncio.Queue[str]()

    async def answers() -> None:
        await health.put("")

    events = LifecycleEvents(
        runtime,  # type: ignore[arg-type]
        SystemClock(),
        pods.put_nowait,
        health.put_nowait,
        answers,
    )
    following = asyncio.create_task(events.run())
    try:
        async with asyncio.timeout(30):
            assert await pods.get() == "a"
            runtime.containers_now = [container("a", ENDED)]
            assert await pods.get() == "a"
            runtime.away = True
            assert "container runtime is down" in await health.get()
            runtime.away = False
            while await health.get():
                pass
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
