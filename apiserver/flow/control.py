"""The configuration in force, and a turn for each request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from apiserver.bounded_cache import BoundedCache
from apiserver.flow.defaults import CATCH_ALL, EXEMPT, default_levels, default_schemas
from apiserver.flow.level import Level, LevelConfig, Queue
from apiserver.flow.schema import FlowSchema, Request, in_order, parse_schema
from kubraft.api.object import Object

# Source: kube-apiserver, --max-requests-inflight and --max-mutating-requests-inflight together.
SEATS: Final = 600
# A quarter of the time that a request may take at most. Source: KEP-1040.
WAIT_S_MAX: Final = 15.0
FLOWS_MAX: Final = 8_192
# A list takes one seat for so many objects, and at most so many seats. Source: KEP-1040.
OBJECTS_PER_SEAT: Final = 100
WIDTH_MAX: Final = 10
QUEUES_MAX: Final = 1_024
_SCHEMA_HEADER: Final = "x-kubernetes-pf-flowschema-uid"
_LEVEL_HEADER: Final = "x-kubernetes-pf-prioritylevel-uid"


class Flow(NamedTuple):
    """Where requests that are alike belong."""

    level: Level
    schema: FlowSchema
    name: str
    headers: tuple[tuple[str, str], ...]  # what responses say of it


class Turn:
    """Seats that a request holds until `end`."""

    __slots__ = ("_began_s", "_clock", "_level", "_queue", "_width")

    def __init__(
        self, level: Level, width: int, queue: Queue | None, clock: Callable[[], float]
    ) -> None:
        self._level = level
        self._width = width
        self._queue = queue
        self._clock = clock
        self._began_s = 0.0 if queue is None else clock()

    def end(self) -> None:
        """Give the seats back; a second time does nothing."""
        width, self._width = self._width, 0
        if width:
            queue = self._queue
            cost_s = self._clock() - self._began_s if queue is not None else 0.0
            self._level.give_back(width, queue, cost_s)


class FlowControl:
    """Classifies requests and hands out turns."""

    def __init__(
        self,
        seats: int = SEATS,
        wait_s_max: float = WAIT_S_MAX,
        count: Callable[[str], int] = lambda _prefix: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seats` are shared out among the levels; the defaults are in force at first.

        `count` answers how many objects there are under a key prefix; `clock` in seconds.
        """
        self._seats = seats
        self._count = count
        self._clock = clock
        # Set where the configuration has changed: it is read when somebody asks.
        self.reload: Callable[[], None] | None = None
        self.wait_s_max = wait_s_max
        self.levels: dict[str, Level] = {}
        self._schemas: tuple[FlowSchema, ...] = ()
        self._flows: BoundedCache[Request, Flow] = BoundedCache(FLOWS_MAX)
        self.configure(default_levels(), default_schemas())

    def configure(self, levels: Iterable[Object], schemas: Iterable[Object]) -> None:
        """Take over objects of both kinds. What is mandatory is there whether they say it or not.

        A FlowSchema whose level does not exist matches nothing.
        """
        found = {level["metadata"]["name"]: level for level in default_levels()
                 if level["metadata"]["name"] in (EXEMPT, CATCH_ALL)}  # fmt: skip
        found.update({level["metadata"]["name"]: level for level in levels})
        configs = level_configs(found.values(), self._seats)
        self.levels = {config.name: self._level(config) for config in configs}
        named = {s["metadata"]["name"]: s for s in default_schemas()
                 if s["metadata"]["name"] in (EXEMPT, CATCH_ALL)}  # fmt: skip
        named.update({schema["metadata"]["name"]: schema for schema in schemas})
        parsed = in_order(map(parse_schema, named.values()))
        self._schemas = tuple(schema for schema in parsed if schema.level in self.levels)
        self._flows = BoundedCache(FLOWS_MAX)

    def find(self, request: Request) -> Flow:
        """Where a request belongs; remembered, as clients repeat themselves."""
        if self.reload is not None:
            reload, self.reload = self.reload, None
            reload()
        flow = self._flows.find(request)
        if flow is None:
            flow = self._classify(request)
            self._flows.put(request, flow)
        return flow

    def list_width(self, prefix: str, limit: int = 0) -> int:
        """Seats for a list of what is under a key prefix."""
        return list_width(self._count(prefix), limit)

    async def turn(self, flow: Flow, width: int = 1) -> Turn:
        """Wait for a turn.

        Raises:
            TooManyRequestsError: there is no seat and no room to wait, or the wait was too long.
        """
        level = flow.level
        if level.take(width):
            return Turn(level, width, None, self._clock)
        queue = await level.wait(f"{flow.schema.name}\n{flow.name}", width, self.wait_s_max)
        return Turn(level, width, queue, self._clock)

    def _classify(self, request: Request) -> Flow:
        for schema in self._schemas:
            if schema.matches(request):
                break
        else:
            schema = next(s for s in self._schemas if s.name == CATCH_ALL)
        level = self.levels[schema.level]
        headers: tuple[tuple[str, str], ...] = ()
        if schema.uid:
            headers = ((_SCHEMA_HEADER, schema.uid), (_LEVEL_HEADER, level.config.uid))
        return Flow(level, schema, schema.flow_of(request), headers)

    def _level(self, config: LevelConfig) -> Level:
        level = self.levels.get(config.name)
        if level is None:
            return Level(config, self._spare)
        level.reconfigure(config)
        return level

    def _spare(self, borrower: Level) -> int:
        """Seats that the others do not use and may lend, less what was borrowed already."""
        lent = free = 0
        for level in self.levels.values():
            seats = level.config.seats
            if seats is None or level is borrower:
                continue
            lent += max(0, level.in_use - seats)
            free += min(level.config.lendable, max(0, seats - level.in_use))
        return max(0, free - lent)


def list_width(objects: int, limit: int = 0) -> int:
    """Seats for a list of about so many objects, `limit` of which are wanted (0: all)."""
    count = min(objects, limit) if limit else objects
    return max(1, min(WIDTH_MAX, math.ceil(count / OBJECTS_PER_SEAT)))


def level_configs(levels: Iterable[Object], seats: int) -> list[LevelConfig]:
    """Share `seats` out among the levels by their shares; each gets one at least."""
    read = [(level, *_read(level)) for level in levels]
    total = sum(shares for _, shares, _ in read) or 1
    return [_config(level, math.ceil(seats * shares / total), part) for level, shares, part in read]


def _read(level: Object) -> tuple[int, dict[str, Any]]:
    """Shares, and the part of the spec that its type says."""
    spec = level["spec"]
    exempt = spec["type"] == "Exempt"
    part = spec.get("exempt" if exempt else "limited") or {}
    return part.get("nominalConcurrencyShares", 0 if exempt else 30), part


def _config(level: Object, seats: int, part: dict[str, Any]) -> LevelConfig:
    metadata = level["metadata"]
    name, uid = metadata["name"], metadata.get("uid", "")
    if level["spec"]["type"] == "Exempt":
        return LevelConfig(name, uid)
    response = part.get("limitResponse") or {}
    queuing = response.get("queuing") or {} if response.get("type") == "Queue" else None
    seats = max(1, seats)
    return LevelConfig(
        name,
        uid,
        seats=seats,
        lendable=seats * part.get("lendablePercent", 0) // 100,
        queues=0 if queuing is None else min(QUEUES_MAX, queuing.get("queues", 64)),
        hand=0 if queuing is None else queuing.get("handSize", 8),
        queue_length_max=0 if queuing is None else queuing.get("queueLengthLimit", 50),
    )
