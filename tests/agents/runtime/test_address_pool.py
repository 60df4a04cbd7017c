from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runtime.address_pool import AddressPool, AddressPoolExhaustedError
from agents.runtime.container_log import LineSplitter, timestamp


def test_addresses_are_unique_until_there_are_none() -> None:
    pool = AddressPool("127.64.0.0/29")
    taken = [pool.allocate() for _ in range(5)]
    assert taken == [f"127.64.0.{n}" for n in range(2, 7)]
    with pytest.raises(AddressPoolExhaustedError):
        pool.allocate()
    pool.release("127.64.0.4")
    assert pool.allocate() == "127.64.0.4"


def test_a_freed_address_is_used_again_as_late_as_possible() -> None:
    pool = AddressPool("127.64.0.0/29")
    pool.release(pool.allocate())
    assert [pool.allocate() for _ in range(5)][-1] == "127.64.0.2"


def test_a_former_lifes_addresses_are_not_handed_out() -> None:
    pool = AddressPool("127.64.0.0/29", used=["127.64.0.2", "127.64.0.3"])
    assert [pool.allocate() for _ in range(3)] == [f"127.64.0.{n}" for n in (4, 5, 6)]


@given(st.lists(st.booleans(), max_size=60))
def test_nobody_shares(steps: list[bool]) -> None:
    pool = AddressPool("127.64.0.0/28")
    held: list[str] = []
    for take in steps:
        if take and len(held) < 13:
            address = pool.allocate()
            assert address not in held
            held.append(address)
        elif held:
            pool.release(held.pop(0))


@given(st.lists(st.binary(max_size=40)))
def test_log_records_hold_exactly_what_was_written(chunks: list[bytes]) -> None:
    splitter = LineSplitter(b"stdout")
    log = b"".join(splitter.feed(chunk, 0) for chunk in chunks) + splitter.finish(0)
    texts = [line.split(b" ", 3)[3] for line in log.split(b"\n")[:-1]]
    assert b"\n".join(texts) == b"".join(chunks).removesuffix(b"\n")
    assert log.startswith(timestamp(0) if log else b"")
