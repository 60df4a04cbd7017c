"""What became of one process, and when it is started again: a table of states, no I/O.

    state      alive  means                                            leaves by
    stopped    no     not started yet, or ended because it was asked   start
    running    yes    -                                                an exit: by what was asked
    crashed    no     ended by itself; starts again after a delay      the delay, kill, stop
    killed     no     killed by a user; stays down                     start

Times are seconds of the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

RESTART_DELAY_S_MIN: Final = 0.25
RESTART_DELAY_S_MAX: Final = 10.0
# A process that ran this long begins again at the shortest delay.
HEALTHY_AFTER_S: Final = 15.0


class State(StrEnum):
    """As `kubraft status` shows it."""

    STOPPED = "stopped"
    RUNNING = "running"
    CRASHED = "crashed"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Child:
    """One process as the supervisor sees it.

    Attributes:
        name: as in its spec.
        state: see the table.
        pid: 0 unless running.
        wanted: whether an exit is answered with a restart.
        ended_as: the state that the next exit leads to.
        restarts: how often it was started again because it had crashed.
        exit: how it ended last, for people: "status 1", "SIGKILL"; empty if it never did.
        restart_at_s: when a crashed one is due.
    """

    name: str
    state: State = State.STOPPED
    pid: int = 0
    wanted: bool = False
    ended_as: State = State.CRASHED
    restarts: int = 0
    exit: str = ""
    started_at_s: float = 0.0
    restart_at_s: float = 0.0
    _failures: int = 0

    @property
    def is_alive(self) -> bool:
        return self.state is State.RUNNING

    def started(self, pid: int, now_s: float) -> Child:
        """It runs as `pid`."""
        assert not self.is_alive, self
        again = self.state is State.CRASHED
        return replace(
            self,
            state=State.RUNNING,
            pid=pid,
            wanted=True,
            ended_as=State.CRASHED,
            started_at_s=now_s,
            restarts=self.restarts + again,
            _failures=self._failures if again else 0,
        )

    def asked_to_end(self, state: State) -> Child:
        """A user wants it down: its exit will lead to `state`, at once where it is not alive."""
        assert state in {State.STOPPED, State.KILLED}, state
        if self.is_alive:
            return replace(self, wanted=False, ended_as=state)
        return replace(self, wanted=False, state=state)

    def exited(self, how: str, now_s: float) -> Child:
        """Its process ended."""
        assert self.is_alive, self
        ended = replace(self, state=self.ended_as, pid=0, exit=how)
        if not self.wanted:
            return ended
        healthy = now_s - self.started_at_s >= HEALTHY_AFTER_S
        failures = 0 if healthy else self._failures
        delay_s = min(RESTART_DELAY_S_MIN * 2 ** min(failures, 30), RESTART_DELAY_S_MAX)
        return replace(ended, restart_at_s=now_s + delay_s, _failures=failures + 1)

    def is_due(self, now_s: float) -> bool:
        """Whether it is to be started again now."""
        return self.state is State.CRASHED and self.wanted and now_s >= self.restart_at_s
