"""Compaction and defragmentation while clients work, and members that die in the middle of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.robustness.faults.scene import Scene
from tests.robustness.traffic.load import HISTORY_KEPT

_ANSWER_S = 30.0


async def defragment_all(scene: Scene) -> None:
    """One member after another, as an operator does."""
    for name in scene.cluster.names:
        await _defragment(scene, name)
    await scene.ready()


async def kill_while_defragmenting(scene: Scene) -> None:
    name = await scene.anyone()
    await _kill_during(scene, name, _defragment(scene, name))


async def kill_while_compacting(scene: Scene) -> None:
    """The compaction is in the log; how far it was carried out is another matter."""
    name = await scene.anyone()
    oldest = min(scene.load.collected.values(), default=0)
    if oldest <= 2 * HISTORY_KEPT:
        return
    await _kill_during(scene, name, _compact(scene, oldest - HISTORY_KEPT))


async def _kill_during(scene: Scene, name: str, work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(scene.rng.uniform(0, 0.03))
    scene.cluster.kill(name)
    await asyncio.gather(task, return_exceptions=True)
    scene.cluster.start(name)
    await scene.ready()


async def _compact(scene: Scene, revision: int) -> None:
    await scene.client.compact(revision)


async def _defragment(scene: Scene, name: str) -> None:
    stub = rpc_pb2_grpc.MaintenanceStub(scene.client.channel(name))
    # It may be told to try again, or the member may be gone.
    with contextlib.suppress(grpc.aio.AioRpcError):
        await stub.Defragment(rpc_pb2.DefragmentRequest(), timeout=_ANSWER_S)
