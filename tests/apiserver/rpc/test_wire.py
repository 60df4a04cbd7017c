"""The bytes written by hand are those that the generated code writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apiserver.rpc import body, wire
from apiserver.storage.entry import EventType
from kubraft.pb.v1 import objects_pb2 as pb

RAW = st.binary(min_size=1, max_size=300)


@given(raw=RAW)
def test_object(raw: bytes) -> None:
    assert pb.Object.FromString(wire.object_json(raw)) == pb.Object(json=raw)


@given(
    items=st.lists(RAW, max_size=5),
    revision=st.integers(1, 2**62),
    token=st.text(max_size=200),
    remaining=st.none() | st.integers(0, 2**40),
)
def test_list(items: list[bytes], revision: int, token: str, remaining: int | None) -> None:
    expected = pb.ListResponse(
        resource_version=str(revision),
        continue_token=token,
        remaining_item_count=remaining or 0,
        items=[pb.Object(json=raw) for raw in items],
    )
    raw = wire.list_response(items, revision, token, remaining)
    assert pb.ListResponse.FromString(raw) == expected


@given(
    type_=st.sampled_from(EventType),
    raw=RAW,
    revision=st.integers(1, 2**62),
    end=st.booleans(),
)
def test_watch_event(type_: EventType, raw: bytes, revision: int, end: bool) -> None:
    expected = pb.WatchEvent(
        type=wire.EVENT_TYPES[type_],
        json=raw,
        resource_version=str(revision),
        initial_events_end=end,
    )
    written = wire.watch_event(type_, raw, revision, initial_end=end)
    assert pb.WatchEvent.FromString(written) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(obj=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_struct_keeps_json(obj: dict[str, object]) -> None:
    if "inf" in repr(obj):
        return
    assert body.from_struct(body.to_struct(obj)) == obj
