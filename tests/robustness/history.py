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
    fragment: bool = False
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
        name: put, delete, txn, read, compact, grant, keep-alive, revoke, lock or unlock; leave
            stands for the way out of a lock's line of a client that heard nothing.
        returned: NEVER while the outcome is unknown.
        writes: what a put, a delete, a txn whose guards hold, or a lock writes.
        guards: of a txn, the keys that are compared and what their values must be (None: no such
            key).
        end: of a read, the end of its range as in WatchRequest.
        at_revision: of a read or a compaction; 0 is now.
        limit: of a read, how many keys at most; 0 is all.
        count: of a read, how many keys its range has; of a delete or a txn, how many it deleted.
        error: why it was certainly not done, such as a compacted revision.
        revision: the header's. kvs: what a read saw, also one of a txn whose guards did not hold.
        done: of a txn, whether the guards held.
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
    guards: tuple[tuple[str, str | None], ...] = ()
    limit: int = 0
    count: int = 0
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


@dataclass(frozen=True, slots=True)
class ListTxn:
    """A txn of the append workload: it read some lists and put an element behind some.

    `done` None: the outcome is unknown. Reads count only if it was done.
    """

    called: float
    returned: float
    done: bool | None
    reads: tuple[tuple[str, tuple[str, ...]], ...]
    appends: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class History:
    """One run.

    `final` is what each member held at the same revision once all faults were over, and `hashes`
    what it said of its whole history up to there.
    """

    calls: list[Call] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    lists: list[ListTxn] = field(default_factory=list)
    final_revision: int = 0
    final: dict[str, tuple[Kv, ...]] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """JSON: a line each call, watch and list txn; the last line is the final state."""
        with file.open("w") as out:
            for call in self.calls:
                out.write(json.dumps({"call": dataclasses.asdict(call)}) + "\n")
            for watch in self.watches:
                out.write(json.dumps({"watch": dataclasses.asdict(watch)}) + "\n")
            for txn in self.lists:
                out.write(json.dumps({"list": dataclasses.asdict(txn)}) + "\n")
            final = {
                name: [dataclasses.asdict(kv) for kv in kvs] for name, kvs in self.final.items()
            }
            last = {"final": final, "revision": self.final_revision, "hashes": self.hashes}
            out.write(json.dumps(last) + "\n")


def load(file: Path) -> History:
    """Read what `save` wrote.

    Raises:
        OSError: there is no such file. ValueError, KeyError, TypeError: it is no history.
    """
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
        elif "list" in found:
            history.lists.append(_list_txn(found["list"]))
        else:
            history.hashes = found["hashes"]
            history.final_revision = found["revision"]
            history.final = {
                name: tuple(Kv(**kv) for kv in kvs) for name, kvs in found["final"].items()
            }
    return history


def _call(found: dict[str, Any]) -> Call:
    guards = tuple((key, value) for key, value in found.pop("guards"))
    writes = tuple(Write(**write) for write in found.pop("writes"))
    kvs = tuple(Kv(**kv) for kv in found.pop("kvs"))
    return Call(**found, guards=guards, writes=writes, kvs=kvs)


def _list_txn(found: dict[str, Any]) -> ListTxn:
    reads = tuple((key, tuple(elements)) for key, elements in found.pop("reads"))
    appends = tuple((key, element) for key, element in found.pop("appends"))
    return ListTxn(**found, reads=reads, appends=appends)


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
