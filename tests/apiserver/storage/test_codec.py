"""Objects as bytes: spliced in, not encoded again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.storage import codec
from apiserver.storage.entry import Entry

TEXT = st.text(max_size=20)
OBJECTS = st.builds(
    lambda metadata, rest: {**rest, "kind": "Thing", "metadata": metadata, "apiVersion": "v1"},
    st.dictionaries(TEXT.filter(lambda t: t != "resourceVersion"), TEXT | st.integers(0, 9)),
    st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2), max_size=3),
)


@given(obj=OBJECTS, revision=st.integers(1, 2**62), later=st.integers(1, 2**62))
def test_readers_get_the_object_with_its_version(
    obj: dict[str, object], revision: int, later: int
) -> None:
    entry = Entry.stored("/k", revision, codec.encode(obj))
    metadata = obj["metadata"]
    assert isinstance(metadata, dict)
    expected = {**obj, "metadata": {**metadata, "resourceVersion": str(revision)}}
    assert entry.decode() == expected
    gone = entry.deleted_at(later).decode()
    assert gone == {**obj, "metadata": {**metadata, "resourceVersion": str(later)}}


def test_a_value_in_another_order_is_understood() -> None:
    value = b'{"spec":{"metadata":{}},"metadata":{"name":"x"},"kind":"T","apiVersion":"v1"}'
    assert Entry.stored("/k", 7, value).decode()["metadata"] == {
        "resourceVersion": "7",
        "name": "x",
    }


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"1", b'{"metadata":1}'])
def test_a_value_that_is_no_object_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|unexpected|no object|not an object|EOF|empty"):
        Entry.stored("/k", 7, value)
