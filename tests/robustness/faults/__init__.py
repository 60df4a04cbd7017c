"""What is done to a cluster while it works: a row of FAULTS each, and each heals what it hurt.

Never more than a minority loses what it stored; a fault that stops a majority loses nothing.
"""

from __future__ import annotations

from tests.robustness.faults import clock, disk, maintenance, membership, network, processes
from tests.robustness.faults.scene import Fault, Scene
from tests.robustness.shim import build

__all__ = ["FAULTS", "Fault", "Scene", "possible"]

# These need the shim, which needs a C compiler.
_SHIMMED: tuple[Fault, ...] = (
    disk.slow_disk_of_leader,
    disk.slow_disk_of_follower,
    disk.fail_sync,
    disk.fill_disk,
    disk.flip_bit_of_snapshot,
    clock.jump_clock_of_leader,
    clock.jump_clock_of_follower,
    clock.scatter_clocks,
)
FAULTS: tuple[Fault, ...] = (
    processes.kill_leader,
    processes.kill_follower,
    processes.kill_all,
    processes.kill_majority,
    processes.pause_leader,
    processes.pause_follower,
    processes.lag,
    network.isolate_leader,
    network.isolate_follower,
    network.cut_all_links,
    network.cut_one_link,
    network.mute_leader,
    network.deafen_leader,
    network.delay_leader,
    disk.tear_log,
    disk.flip_bit_of_log,
    disk.flip_bit_of_database,
    disk.tear_snapshot,
    maintenance.defragment_all,
    maintenance.kill_while_defragmenting,
    maintenance.kill_while_compacting,
    membership.replace_member,
    membership.promote_learner,
    membership.remove_leader,
    *_SHIMMED,
)


def possible() -> tuple[Fault, ...]:
    """The faults that this machine can do."""
    return FAULTS if build() else tuple(fault for fault in FAULTS if fault not in _SHIMMED)
