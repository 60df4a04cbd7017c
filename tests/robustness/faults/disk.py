"""Disks of a minority that are slow, fail, fill up, or give back something else than they got."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tests.robustness.faults.damage import flip_bit, newest_segment, tear
from tests.robustness.faults.scene import Scene
from tests.robustness.shim import Shim

_STATE = Path("state/db")


async def slow_disk_of_leader(scene: Scene) -> None:
    await _slow(scene, await scene.leader())


async def slow_disk_of_follower(scene: Scene) -> None:
    await _slow(scene, await scene.follower())


async def _slow(scene: Scene, name: str) -> None:
    with scene.shim(name) as shim:
        shim.slow_syncs(scene.rng.choice((0.05, 0.3, 1.5)))
        await scene.last()
    await scene.ready()


async def fail_sync(scene: Scene) -> None:
    """A sync fails: nobody knows what the disk holds, so the member must end at once."""
    name = await scene.anyone()
    with scene.shim(name) as shim:
        shim.fail_syncs(errno.EIO)
        await _ends(scene, name, shim, (errno.EIO,))


async def fill_disk(scene: Scene) -> None:
    """There is room for some more bytes, and the write that does not fit is cut short."""
    name = await scene.anyone()
    with scene.shim(name) as shim:
        shim.fill_disk(scene.rng.randrange(50_000))
        # A write that was cut short is an input/output error to LMDB.
        await _ends(scene, name, shim, (errno.ENOSPC, errno.EIO))


async def _ends(scene: Scene, name: str, shim: Shim, errors: Sequence[int]) -> None:
    """The member says why it ends, and comes back with what it had once the disk is well."""
    cluster = scene.cluster
    await scene.until(lambda: not cluster.is_running(name), f"{name} ends as its disk failed")
    last = cluster.last_line(name)
    if cluster.exit_status(name) != 1 or not any(os.strerror(number) in last for number in errors):
        raise AssertionError(f"{name} does not say that its disk failed: {last}")
    await scene.last()
    shim.calm()
    cluster.start(name)
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
    name = await scene.follower()
    scene.cluster.kill(name)
    await _damaged(scene, name, newest_segment(scene.cluster.data_dir(name)))


async def flip_bit_of_database(scene: Scene) -> None:
    """The same of the database, whose pages carry no checksums of their own."""
    name = await scene.follower()
    scene.cluster.kill(name)
    await _damaged(scene, name, scene.cluster.data_dir(name) / _STATE)


async def flip_bit_of_snapshot(scene: Scene) -> None:
    """A member dies with a snapshot that it has received and not taken over; it is damaged."""
    cluster, name = scene.cluster, await scene.follower()
    cluster.kill(name)
    await _outgrow(scene)
    received = cluster.data_dir(name) / "snap"
    with scene.shim(name) as shim:
        # Slow enough for the file to be seen between its arrival and its end.
        shim.slow_syncs(0.3)
        cluster.start(name)
        await scene.until(
            lambda: list(received.glob("*.snap")) or cluster.answers(name), f"{name} caught up"
        )
        cluster.kill(name)
    files = list(received.glob("*.snap"))
    if files:
        await _damaged(scene, name, files[0])
    else:
        cluster.start(name)
        await scene.ready()


async def tear_snapshot(scene: Scene) -> None:
    """A member dies while it receives a snapshot, and again, and must come back."""
    cluster, name = scene.cluster, await scene.follower()
    cluster.kill(name)
    await _outgrow(scene)
    for _ in range(3):
        cluster.start(name)
        await asyncio.sleep(scene.rng.uniform(0.5, 2.0))
        cluster.kill(name)
    cluster.start(name)
    await scene.ready()


async def _outgrow(scene: Scene) -> None:
    """Wait until the others have forgotten what a member that is down lacks."""
    for _ in range(3):
        await scene.last()


async def _damaged(scene: Scene, name: str, file: Path) -> None:
    """A bit of a file of a member that is down is turned over; it refuses, naming the file.

    Or it was a bit that means nothing. A member that refused gets its file back.
    """
    cluster = scene.cluster
    content = file.read_bytes()
    place = flip_bit(file, scene.rng)
    cluster.start(name)
    await scene.until(
        lambda: not cluster.is_running(name) or cluster.answers(name),
        f"{name} refuses or is ready, {place} of {file.name}",
    )
    if not cluster.is_running(name):
        last = cluster.last_line(name)
        named = file.name in last or str(file.parent) in last
        if not named or cluster.exit_status(name) != 1:
            raise AssertionError(f"{name} does not say what is wrong with {file}: {last}")
        await scene.last()
        file.write_bytes(content)
        cluster.start(name)
    await scene.last()
    await scene.ready()
