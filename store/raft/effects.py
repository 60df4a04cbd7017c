"""What a core is told at its start, and what it asks of its driver. No I/O."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from store.raft import messages as m
from store.raft.log import Base


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A leader that hears no quorum for `quorum_s` steps down (CheckQuorum)."""

    heartbeat_s: float
    election_s: float
    election_s_max: float
    quorum_s: float
    append_bytes_max: int


class Effects(Protocol):
    """What a Core asks of its driver; called while one of the Core's methods runs."""

    def send(self, peer: int, message: m.RaftMessage) -> None:
        """Send, what promises something once all that the log has noted so far is durable.

        It may be lost.
        """

    def congested(self, peer: int) -> bool:
        """Whether `peer` should get no entries for now."""

    def snapshot_wanted(self, peer: int) -> None:
        """The log does not reach back to where `peer` is; asked again until it does."""

    def committed(self, entries: list[m.Entry]) -> None:
        """Apply these next; all of them are committed, and durable here."""

    def installed(self, base: Base) -> None:
        """The log now starts at a received snapshot; the state machine must take it over."""

    def read_confirmed(self, token: Hashable, index: int) -> None:
        """`read_index(token)` is answered: leadership held after it began; 0: it was lost."""
