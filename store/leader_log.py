"""What a member's log says of its leader: who it is now, or that there is none and who is missing.

One line a change. An election that goes as it should is no news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from kubraft.log import get_logger
from store.beat import next_beat
from store.raft.engine import EngineStatus
from store.rpc.errors import quorum_lost
from store.rpc.service import MemberServices

log = get_logger("store.leader_log")

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Notice:
    """A line: who leads, or why nobody does."""

    term: int
    leader: str = ""
    cause: str = ""


class LeaderWatch:
    """Finds what is new. Pure."""

    def __init__(self, *, patience_s: float) -> None:
        """No leader for `patience_s` is worth a line."""
        self._patience_s = patience_s
        self._without_since: float | None = None
        self._told: Notice | None = None

    def look(self, status: EngineStatus, names: Mapping[int, str], *, now: float) -> Notice | None:
        """What to say of `status`, seen `now` in seconds; None where nothing is new."""
        if status.leader is not None:
            self._without_since = None
            leader = names.get(status.leader, f"{status.leader:x}")
            return self._new(Notice(term=status.term, leader=leader))
        if self._without_since is None:
            self._without_since = now
        if now - self._without_since < self._patience_s:
            return None
        lost = quorum_lost(status.silent_peers, status, names).removeprefix(": ")
        # Terms go by while nobody wins; they are no news.
        before = self._told.term if self._told and self._told.cause else status.term
        return self._new(Notice(term=before, cause=lost or "nobody has won an election"))

    def _new(self, notice: Notice) -> Notice | None:
        if notice == self._told:
            return None
        self._told = notice
        return notice


async def keep_leader_log(services: MemberServices, *, election_s: float) -> NoReturn:
    """Log the changes until cancelled."""
    watch = LeaderWatch(patience_s=3 * election_s)
    now = asyncio.get_running_loop().time
    while True:
        status = services.status()
        notice = watch.look(status, services.names, now=now())
        if notice is not None and notice.leader:
            log.info("leader", leader=notice.leader, term=notice.term)
        elif notice is not None:
            log.warning("no leader", cause=notice.cause, term=notice.term)
        await next_beat(_POLL_S)
