"""Links between members that lose or hold what is said, in one direction or both."""

from __future__ import annotations

from tests.robustness.faults.scene import Scene
from tests.robustness.relayed_cluster import Hurt, shuffled


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
