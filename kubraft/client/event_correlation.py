"""Which Event object a happening becomes: a new one, or one more count of an old one, or none.

Pure: time is passed in. Three steps, each with bounded memory:

1. spam filter: an object of one component may have `BURST` Events at once and one more each
   `REFILL_S` after that; what is over is dropped;
2. aggregation: many different messages for one reason become one Event that says so;
3. counting: what is otherwise equal raises the count of the Event that exists.

Source: client-go's event correlation (the numbers and the prefix of combined messages).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

BURST = 25
REFILL_S = 300.0
SIMILAR_MAX = 10
SIMILAR_WINDOW_S = 600.0
REMEMBERED_MAX = 4096
COMBINED_PREFIX = "(combined from similar events): "

V = TypeVar("V")


class Happening(NamedTuple):
    """What a component reports about an object."""

    uid: str
    subject: str  # kind, namespace and name: objects without a uid differ by them
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Series:
    """One Event object that counts."""

    name: str = ""  # empty until it is stored
    count: int = 0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    since_s: float


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    since_s: float = 0.0


class _Recent(OrderedDict[Hashable, V], Generic[V]):
    """Forgets what was not asked for in the longest time."""

    def fetch(self, key: Hashable, default: V) -> V:
        value = self.setdefault(key, default)
        self.move_to_end(key)
        if len(self) > REMEMBERED_MAX:
            self.popitem(last=False)
        return value


class Correlator:
    """The memory of one component's Events."""

    def __init__(self) -> None:
        self._buckets: _Recent[_Bucket] = _Recent()
        self._similar: _Recent[_Similar] = _Recent()
        self._series: _Recent[Series] = _Recent()

    def correlate(self, happening: Happening, now_s: float) -> Happening | None:
        """The happening as it is to be reported, or None where there are too many."""
        if not self._admit(happening, now_s):
            return None
        return self._aggregate(happening, now_s)

    def series(self, happening: Happening) -> Series:
        """The Event that counts `happening`; the caller keeps it up to date."""
        return self._series.fetch(happening, Series())

    def forget(self, happening: Happening) -> None:
        """Have the next one make a new Event."""
        self._series.pop(happening, None)

    def _admit(self, happening: Happening, now_s: float) -> bool:
        bucket = self._buckets.fetch((happening.uid, happening.subject), _Bucket(BURST, now_s))
        bucket.tokens = min(BURST, bucket.tokens + (now_s - bucket.since_s) / REFILL_S)
        bucket.since_s = now_s
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _aggregate(self, happening: Happening, now_s: float) -> Happening:
        key = (happening.uid, happening.subject, happening.type, happening.reason)
        similar = self._similar.fetch(key, _Similar(since_s=now_s))
        if now_s - similar.since_s > SIMILAR_WINDOW_S:
            similar.messages.clear()
        similar.since_s = now_s
        if happening.message in similar.messages or len(similar.messages) < SIMILAR_MAX:
            similar.messages.add(happening.message)
            return happening
        return happening._replace(message=COMBINED_PREFIX + happening.message)
