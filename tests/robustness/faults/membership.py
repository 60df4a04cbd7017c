"""Members that come and go while clients work: replaced, added as learners, promoted, removed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.robustness.faults.scene import Scene

_ANSWER_S = 5.0
# For a change that is refused until a quorum or the learner is well.
_CHANGE_S_MAX = 60.0
_PAUSE_S = 0.3


async def replace_member(scene: Scene) -> None:
    """One is gone for good with its disk; a new one takes its place."""
    cluster, name = scene.cluster, await scene.follower()
    cluster.kill(name)
    await scene.last()
    shutil.rmtree(cluster.data_dir(name))
    await _remove(scene, name)
    await _add(scene, name, learner=False)
    cluster.start(name)
    await scene.ready()


async def promote_learner(scene: Scene) -> None:
    """A learner joins, is promoted once it has caught up, and is removed after a while."""
    cluster = scene.cluster
    (name, *_) = cluster.spares
    await _add(scene, name, learner=True)
    cluster.start(name)
    await scene.last()
    await _promote(scene, name)
    await scene.ready()
    await scene.last()
    await _leave(scene, name)


async def remove_leader(scene: Scene) -> None:
    """A fourth member takes the place of the leader, which comes back as a new one."""
    cluster = scene.cluster
    (spare, *_) = cluster.spares
    await _add(scene, spare, learner=False)
    cluster.start(spare)
    await scene.ready()
    leader = await scene.leader()
    await _leave(scene, leader)
    await scene.ready()
    await scene.last()
    if leader in cluster.founders:
        await _add(scene, leader, learner=False)
        cluster.start(leader)
        await scene.ready()
        await _leave(scene, spare)


async def _leave(scene: Scene, name: str) -> None:
    """Remove a member that runs, wait until it has ended by itself, and wipe it."""
    await _remove(scene, name)
    await scene.until(lambda: not scene.cluster.is_running(name), f"{name}, removed, ends")
    shutil.rmtree(scene.cluster.data_dir(name))
    await scene.ready()


async def _add(scene: Scene, name: str, *, learner: bool) -> None:
    url = scene.cluster.peer_url(name)
    request = rpc_pb2.MemberAddRequest(peerURLs=[url], isLearner=learner)
    await _change(scene, "MemberAdd", request, lambda members: url in members)
    scene.cluster.join(name)


async def _promote(scene: Scene, name: str) -> None:
    url = scene.cluster.peer_url(name)
    member = (await _members(scene))[url]
    request = rpc_pb2.MemberPromoteRequest(ID=member.ID)
    await _change(scene, "MemberPromote", request, lambda members: not members[url].isLearner)


async def _remove(scene: Scene, name: str) -> None:
    url = scene.cluster.peer_url(name)
    member = (await _members(scene))[url]
    scene.cluster.leave(name)
    request = rpc_pb2.MemberRemoveRequest(ID=member.ID)
    await _change(scene, "MemberRemove", request, lambda members: url not in members)


async def _members(scene: Scene) -> dict[str, rpc_pb2.Member]:
    """By peer URL."""

    async def listed(stub: Any) -> dict[str, rpc_pb2.Member]:
        answer = await stub.MemberList(
            rpc_pb2.MemberListRequest(linearizable=True), timeout=_ANSWER_S
        )
        return {member.peerURLs[0]: member for member in answer.members}

    found: dict[str, rpc_pb2.Member] = await _anywhere(scene, listed)
    return found


async def _change(
    scene: Scene,
    method: str,
    request: Any,
    is_done: Callable[[dict[str, rpc_pb2.Member]], bool],
) -> None:
    """Ask for a change until it is done, whoever answered."""

    async def ask(stub: Any) -> None:
        if not is_done(await _members(scene)):
            await getattr(stub, method)(request, timeout=_ANSWER_S)

    await _anywhere(scene, ask)


async def _anywhere(scene: Scene, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask one member after another. Raises AssertionError: none could."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _CHANGE_S_MAX
    while True:
        names = list(filter(scene.cluster.is_running, scene.cluster.names))
        name = scene.rng.choice(names or scene.cluster.names)
        try:
            return await ask(rpc_pb2_grpc.ClusterStub(scene.client.channel(name)))
        except grpc.aio.AioRpcError as error:
            if loop.time() > deadline:
                raise AssertionError(f"{name}: {error.details()}") from error
        await asyncio.sleep(_PAUSE_S)
