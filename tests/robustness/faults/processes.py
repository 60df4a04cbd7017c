"""Members that are killed, stopped, or away for long."""

from __future__ import annotations

import asyncio

from tests.robustness.faults.scene import Scene
from tests.robustness.relayed_cluster import shuffled


async def kill_leader(scene: Scene) -> None:
    await _kill(scene, await scene.leader())


async def kill_follower(scene: Scene) -> None:
    await _kill(scene, await scene.follower())


async def _kill(scene: Scene, name: str) -> None:
    scene.cluster.kill(name)
    await scene.last()
    scene.cluster.start(name)
    await scene.ready()


async def kill_all(scene: Scene) -> None:
    """At once, and a cold start in any order."""
    scene.cluster.kill()
    for name in shuffled(scene.cluster.names, scene.rng):
        scene.cluster.start(name)
        await asyncio.sleep(scene.rng.random())
    await scene.ready()


async def kill_majority(scene: Scene) -> None:
    """One member is left, which may acknowledge nothing."""
    names = shuffled(scene.cluster.names, scene.rng)
    dead = names[: len(names) // 2 + 1]
    scene.cluster.kill(*dead)
    await scene.last()
    scene.cluster.start(*dead)
    await scene.ready()


async def pause_leader(scene: Scene) -> None:
    await _pause(scene, await scene.leader())


async def pause_follower(scene: Scene) -> None:
    await _pause(scene, await scene.follower())


async def _pause(scene: Scene, name: str) -> None:
    scene.cluster.pause(name)
    try:
        await scene.last()
    finally:
        scene.cluster.resume(name)
    await scene.ready()


async def lag(scene: Scene) -> None:
    """A member is away until the others have forgotten the entries that it lacks."""
    name = await scene.follower()
    scene.cluster.kill(name)
    await scene.last()
    await scene.last()
    await scene.last()
    scene.cluster.start(name)
    await scene.ready()
