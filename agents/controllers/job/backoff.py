"""How long a Job waits after failures before it makes the next Pod.

Source: Kubernetes documentation, "Pod backoff failure policy": 10 s, 20 s, 40 s, at most 10 min.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.controllers.job.reading import ended_at, failures_of, ignored_of
from kubraft.api.backoff import exponential_s
from kubraft.api.object import Object

BASE_S = 10.0
MAX_S = 600.0


@dataclass(frozen=True, slots=True)
class Record:
    """Failures since the last success, and when the last of them was."""

    failures: int = 0
    last: datetime | None = None

    def after(self, succeeded: Sequence[Object], failed: Sequence[Object]) -> Record:
        """The record once these Pods have ended as well."""
        success = max((t for p in succeeded if (t := ended_at(p))), default=None)
        moments = [t for p in failed if (t := ended_at(p)) and (success is None or t > success)]
        before = Record() if succeeded else self
        last = max([*moments, *filter(None, [before.last])], default=None)
        return Record(before.failures + len(moments), last)

    def wait_s(self, now: datetime) -> float:
        """Seconds until a Pod may be made; 0 where that is now."""
        if not self.failures or self.last is None:
            return 0.0
        delay_s = exponential_s(self.failures - 1, BASE_S, MAX_S)
        return max(delay_s - (now - self.last).total_seconds(), 0.0)


def index_wait_s(last: Object, now: datetime) -> float:
    """Seconds until the index whose Pod `last` failed may have another."""
    return Record(failures_of(last) + ignored_of(last) + 1, ended_at(last)).wait_s(now)
