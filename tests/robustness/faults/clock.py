"""Wall clocks that jump. Nothing that the store promises may depend on them."""

from __future__ import annotations

import contextlib

from tests.robustness.faults.scene import Scene

_HOUR_S = 3600.0


async def jump_clock_of_leader(scene: Scene) -> None:
    await _jump(scene, [await scene.leader()])


async def jump_clock_of_follower(scene: Scene) -> None:
    await _jump(scene, [await scene.follower()])


async def scatter_clocks(scene: Scene) -> None:
    """Each member has a time of its own, and another one soon."""
    await _jump(scene, scene.cluster.names)


async def _jump(scene: Scene, names: list[str] | tuple[str, ...]) -> None:
    with contextlib.ExitStack() as stack:
        shims = [stack.enter_context(scene.shim(name)) for name in names]
        for _ in range(3):
            for shim in shims:
                shim.set_wall_clock(_offset_s(scene))
            await scene.last()
    await scene.ready()


def _offset_s(scene: Scene) -> float:
    """Seconds or days, there and back; under TLS not to before certificates are valid."""
    size = scene.rng.choice((0.5, 30.0, 2 * _HOUR_S, 20 * 24 * _HOUR_S))
    return size if scene.cluster.tls or scene.rng.random() < 0.5 else -size
