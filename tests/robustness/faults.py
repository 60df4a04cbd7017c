"""What is done to a cluster while it works: a row of FAULTS each, and each heals what it hurt.

Never more than a minority loses what it stored; a fault that stops a majority loses nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.e2e.store_cluster import wait_until
from tests.robustness.damage import flip_bit, newest_segment, tear
from tests.robustness.relayed_cluster import Hurt, RelayedCluster, shuffled

REFUSAL_S_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster under traffic, and how long a fault of it lasts."""

    cluster: RelayedCluster
    rng: random.Random
    fault_s: float

    async def last(self) -> None:
        await asyncio.sleep(self.fault_s * self.rng.uniform(0.5, 1.5))

    async def leader(self) -> str:
        return await asyncio.to_thread(self.cluster.leader)

    async def follower(self) -> str:
        return self.rng.choice(await asyncio.to_thread(self.cluster.followers))

    async def ready(self) -> None:
        await asyncio.to_thread(self.cluster.wait_ready)

    def others(self, name: str) -> list[str]:
        return [other for other in self.cluster.names if other != name]


Fault = Callable[[Scene], Awaitable[None]]


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


async def isolate_leader(scene: Scene) -> None:
    leader = await scene.leader()
    scene.cluster.network.cut(scene.cluster.between(leader, *scene.others(leader)))
    await _heal(scene)


async def isolate_follower(scene: Scene) -> None:
    follower = await scene.follower()
    scene.cluster.network.cut(scene.cluster.between(follower, *scene.others(follower)))
    await _heal(scene)


async def cut_all_links(scene: Scene) -> None:
    names = scene.cluster.names
    scene.cluster.network.cut((a, b) for a in names for b in names if a != b)
    await _heal(scene)


async def cut_one_link(scene: Scene) -> None:
    """Two members do not reach each other, and the third reaches both."""
    one, other = shuffled(scene.cluster.names, scene.rng)[:2]
    scene.cluster.network.hurt(scene.cluster.between(one, other), Hurt.LOSE)
    await _heal(scene)


async def mute_leader(scene: Scene) -> None:
    """One way: it hears the others, and they do not hear it."""
    leader = await scene.leader()
    scene.cluster.network.hurt(scene.cluster.away_from(leader, *scene.others(leader)), Hurt.LOSE)
    await _heal(scene)


async def deafen_leader(scene: Scene) -> None:
    """One way: they hear it, and it does not hear them."""
    leader = await scene.leader()
    scene.cluster.network.hurt(scene.cluster.towards(leader, *scene.others(leader)), Hurt.LOSE)
    await _heal(scene)


async def delay_leader(scene: Scene) -> None:
    """What it says arrives when it may no longer be the leader."""
    leader = await scene.leader()
    how = scene.rng.choice((scene.cluster.away_from, scene.cluster.between))
    scene.cluster.network.hurt(how(leader, *scene.others(leader)), Hurt.HOLD)
    await _heal(scene)


async def _heal(scene: Scene) -> None:
    try:
        await scene.last()
    finally:
        scene.cluster.network.heal()
    await scene.ready()


async def tear_log(scene: Scene) -> None:
    """A member dies in the middle of a write to its log, and must come back."""
    name = await scene.follower()
    scene.cluster.kill(name)
    tear(newest_segment(scene.cluster.data_dir(name)), scene.rng)
    await scene.last()
    scene.cluster.start(name)
    await scene.ready()


async def flip_bit_of_log(scene: Scene) -> None:
    """A member finds its log damaged: it refuses, or it was a bit that means nothing."""
    cluster, name = scene.cluster, await scene.follower()
    cluster.kill(name)
    segment = newest_segment(cluster.data_dir(name))
    content = segment.read_bytes()
    place = flip_bit(segment, scene.rng)
    cluster.start(name)
    await asyncio.to_thread(
        wait_until,
        lambda: not cluster.is_running(name) or _answers(cluster, name),
        f"{name} refuses or is ready, {place}",
        timeout_s=REFUSAL_S_MAX,
    )
    if not cluster.is_running(name):
        last = cluster.log_file(name).read_text().strip().splitlines()[-1]
        if segment.name not in last or cluster.exit_status(name) != 1:
            raise AssertionError(f"{name} does not say what is wrong with {segment}: {last}")
        await scene.last()
        segment.write_bytes(content)
        cluster.start(name)
    await scene.last()
    await scene.ready()


def _answers(cluster: RelayedCluster, name: str) -> bool:
    return cluster.is_running(name) and cluster._knows_leader(name)


async def lag(scene: Scene) -> None:
    """A member is away until the others have forgotten the entries that it lacks."""
    name = await scene.follower()
    scene.cluster.kill(name)
    await scene.last()
    await scene.last()
    await scene.last()
    scene.cluster.start(name)
    await scene.ready()


FAULTS: tuple[Fault, ...] = (
    kill_leader,
    kill_follower,
    kill_all,
    kill_majority,
    pause_leader,
    pause_follower,
    isolate_leader,
    isolate_follower,
    cut_all_links,
    cut_one_link,
    mute_leader,
    deafen_leader,
    delay_leader,
    tear_log,
    flip_bit_of_log,
    lag,
)
