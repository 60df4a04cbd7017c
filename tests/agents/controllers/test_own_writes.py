from __future__ import annotations

import pytest

from agents.controllers.own_writes import OWN_WRITE_TTL_S, OwnWrites
from kubraft.api.object import Object, ObjectKey
from tests.agents.controllers.objects import replica_set

OWNER = ObjectKey("default", "web")


def version(number: int, uid: str = "uid-rs") -> Object:
    obj = replica_set()
    obj["metadata"] |= {"resourceVersion": str(number), "uid": uid}
    return obj


@pytest.mark.parametrize(
    ("created", "cached", "seen"),
    [
        pytest.param(False, version(9), False, id="older"),
        pytest.param(False, version(10), True, id="the write itself"),
        pytest.param(False, version(11), True, id="newer"),
        pytest.param(False, version(1, "another"), True, id="deleted and made anew"),
        pytest.param(False, None, True, id="changed, then deleted"),
        pytest.param(True, None, False, id="created, not there yet"),
    ],
)
def test_a_write_is_pending_until_the_cache_shows_it(
    created: bool, cached: Object | None, seen: bool
) -> None:
    writes = OwnWrites()
    writes.note(OWNER, version(10), created=created, now_s=0)
    assert writes.seen(OWNER, lambda _: cached, 1) is seen


def test_a_write_that_is_never_seen_blocks_no_longer_than_the_limit() -> None:
    writes = OwnWrites()
    writes.note(OWNER, version(10), created=True, now_s=0)
    assert not writes.seen(OWNER, lambda _: None, OWN_WRITE_TTL_S)
    assert writes.seen(OWNER, lambda _: None, OWN_WRITE_TTL_S + 1)
