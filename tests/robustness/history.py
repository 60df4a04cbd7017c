"""What clients did and saw: the only thing that is judged, and what is kept of a failed run.

Keys and values are text here. Times are seconds on one monotonic clock.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.linearizability import NEVER


@dataclass(frozen=True, slots=True)
class Kv:
    """A key as a member answers it."""

    key: str
    value: str
    create: int
    mod: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch; `kv.mod` is its revision. `previous` is prev_kv."""

    is_delete: bool
    kv: Kv
    previous: Kv | None = None

    @property
    def revision(self) -> int:
        return self.kv.mod


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """One watch; `end` is "" for one key, "\\0" for no upper bound. `start` 0 is from now on."""

    key: str
    end: str = ""
    start: int = 0
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False
    # The watch whose end this one follows, by number in the history; -1 if it follows none.
    resumes: int = -1

    def covers(self, key: str) -> bool:
        return covers(self.key, self.end, key)

    def wants(self, event: Event) -> bool:
        unwanted = self.no_delete if event.is_delete else self.no_put
        return self.covers(event.kv.key) and not unwanted


@dataclass(frozen=True, slots=True)
class WatchResponse:
    """One response of one watch; fragments are put together. No events and progress: a bookmark."""

    at: float
    revision: int
    events: tuple[Event, ...] = ()
    created: bool = False
    progress: bool = False
    compacted: int = 0


@dataclass(slots=True)
class Watch:
    """A watch from its creation to the end of its stream."""

    member: str
    request: WatchRequest
    responses: list[WatchResponse] = field(default_factory=list)

    @property
    def events(self) -> Iterator[Event]:
        for response in self.responses:
            yield from response.events


@dataclass(frozen=True, slots=True)
class Write:
    """A part of a txn: a put, or a delete where `value` is None."""

    key: str
    value: str | None
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the key-value or lease API.

    Attributes:
        name: put, delete, txn, read, compact, grant, keep-alive or revoke.
        returned: NEVER while the outcome is unknown.
        writes: what a put, a delete or a txn whose guard holds writes.
        guard: of a txn, the key that is compared and what its value must be (None: no such key).
        end: of a read, the end of its range as in WatchRequest.
        at_revision: of a read or a compaction; 0 is now.
        error: why it was certainly not done, such as a compacted revision.
        revision: the header's. kvs: what a read saw. done: of a txn, whether the guard held.
        lease, ttl_s: of the lease API.
    """

    client: int
    member: str
    name: str
    called: float
    returned: float
    key: str = ""
    end: str = ""
    serializable: bool = False
    at_revision: int = 0
    writes: tuple[Write, ...] = ()
    guard: tuple[str, str | None] | None = None
    error: str = ""
    revision: int = 0
    kvs: tuple[Kv, ...] = ()
    done: bool = True
    lease: int = 0
    ttl_s: int = 0

    @property
    def is_known(self) -> bool:
        return self.returned != NEVER

    @property
    def succeeded(self) -> bool:
        return self.is_known and not self.error


@dataclass(slots=True)
class History:
    """One run. `final` is what each member held at the same revision once all faults were over."""

    calls: list[Call] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    final_revision: int = 0
    final: dict[str, tuple[Kv, ...]] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """JSON: a line each call and watch, and the last line is the final state."""
        with file.open("w") as out:
            for call in self.calls:
                out.write(json.dumps({"call": dataclasses.asdict(call)}) + "\n")
            for watch in self.watches:
                out.write(json.dumps({"watch": dataclasses.asdict(watch)}) + "\n")
            final = {
                name: [dataclasses.asdict(kv) for kv in kvs] for name, kvs in self.final.items()
            }
            out.write(json.dumps({"final": final, "revision": self.final_revision}) + "\n")


def load(file: Path) -> History:
    """Read what `save` wrote."""
    history = History()
    for line in file.read_text().splitlines():
        found = json.loads(line)
        if "call" in found:
            history.calls.append(_call(found["call"]))
        elif "watch" in found:
            watch = found["watch"]
            responses = [_response(response) for response in watch["responses"]]
            request = WatchRequest(**watch["request"])
            history.watches.append(Watch(watch["member"], request, responses))
        else:
            history.final_revision = found["revision"]
            history.final = {
                name: tuple(Kv(**kv) for kv in kvs) for name, kvs in found["final"].items()
            }
    return history


def _call(found: dict[str, Any]) -> Call:
    guard = found.pop("guard")
    writes = tuple(Write(**write) for write in found.pop("writes"))
    kvs = tuple(Kv(**kv) for kv in found.pop("kvs"))
    return Call(**found, guard=(guard[0], guard[1]) if guard else None, writes=writes, kvs=kvs)


def _response(found: dict[str, Any]) -> WatchResponse:
    events = tuple(
        Event(
            event["is_delete"],
            Kv(**event["kv"]),
            Kv(**event["previous"]) if event["previous"] else None,
        )
        for event in found.pop("events")
    )
    return WatchResponse(**found, events=events)


def covers(key: str, end: str, candidate: str) -> bool:
    """Whether a range has a key in it."""
    if not end:
        return candidate == key
    return key <= candidate and (end == "\0" or candidate < end)
