"""A small history that keeps every guarantee, made by hand, for tests to break in one place.

Revisions: 2 creates a, 3 updates a, 4 creates b and c at once, 5 deletes a, 6 creates a again.
"""

from __future__ import annotations

from tests.robustness.history import (
    Call,
    Event,
    History,
    Kv,
    Watch,
    WatchRequest,
    WatchResponse,
    Write,
)

A2 = Kv("register/a", "1", 2, 2, 1)
A3 = Kv("register/a", "2", 2, 3, 2)
B4 = Kv("b", "3", 4, 4, 1)
C4 = Kv("c", "4", 4, 4, 1)
A6 = Kv("register/a", "5", 6, 6, 1)

PUT_A2 = Event(is_delete=False, kv=A2)
PUT_A3 = Event(is_delete=False, kv=A3, previous=A2)
PUT_B4 = Event(is_delete=False, kv=B4)
PUT_C4 = Event(is_delete=False, kv=C4)
DELETE_A5 = Event(is_delete=True, kv=Kv("register/a", "", 0, 5, 0), previous=A3)
PUT_A6 = Event(is_delete=False, kv=A6)
ALL = (PUT_A2, PUT_A3, PUT_B4, PUT_C4, DELETE_A5, PUT_A6)


def put(key: str, value: str, revision: int, **fields: int) -> Call:
    """Called half a second before the second that is its revision, returned half a second after."""
    return Call(
        1,
        "m",
        "put",
        revision - 0.5,
        revision + 0.4,
        revision=revision,
        writes=(Write(key, value, **fields),),
    )


def read(key: str, end: str, revision: int, *kvs: Kv, **fields: object) -> Call:
    fields = {"count": len(kvs)} | fields
    return Call(
        2,
        "m",
        "read",
        revision + 0.41,
        revision + 0.45,
        key=key,
        end=end,
        revision=revision,
        kvs=kvs,
        **fields,  # type: ignore[arg-type]
    )


def responses(*groups: tuple[Event, ...]) -> list[WatchResponse]:
    """The creation of a watch, then its events, each group a response on time."""
    found = [WatchResponse(0.5, 1, created=True)]
    for group in groups:
        revision = group[-1].revision
        found.append(WatchResponse(revision + 0.3, revision, group))
    return found


def watch(request: WatchRequest, *groups: tuple[Event, ...]) -> Watch:
    return Watch("m", request, responses(*groups))


def everything() -> Watch:
    request = WatchRequest("\0", "\0", 1, prev_kv=True)
    return watch(request, (PUT_A2,), (PUT_A3,), (PUT_B4, PUT_C4), (DELETE_A5,), (PUT_A6,))


def bookmark(revision: int) -> WatchResponse:
    return WatchResponse(revision + 0.35, revision, progress=True)


def good() -> History:
    """One that keeps every guarantee."""
    return History(
        [
            put("register/a", "1", 2),
            read("register/a", "", 2, A2),
            put("register/a", "2", 3),
            Call(
                1,
                "m",
                "txn",
                3.5,
                4.4,
                revision=4,
                writes=(Write("b", "3"), Write("c", "4")),
                guards=(("register/a", "2"),),
            ),
            read("\0", "\0", 4, B4, C4, A3),
            Call(
                1, "m", "delete", 4.5, 5.4, revision=5, writes=(Write("register/a", None),), count=1
            ),
            put("register/a", "5", 6),
            read("register/a", "", 6, A3, serializable=True, at_revision=4),
            Call(
                3,
                "m",
                "txn",
                6.5,
                6.6,
                revision=6,
                writes=(Write("b", "6"),),
                guards=(("b", "0"),),
                done=False,
                kvs=(B4,),
            ),
        ],
        [everything()],
        final_revision=6,
        final={"m": (B4, C4, A6), "n": (B4, C4, A6)},
    )
