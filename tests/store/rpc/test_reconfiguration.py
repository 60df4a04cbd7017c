"""Every rule about a change of membership, and the text of its refusal."""

from collections.abc import Callable
from functools import partial

import pytest

from store.raft.membership import REMOVED, Members, as_learner
from store.rpc import reconfiguration
from store.rpc.errors import RefusedError
from store.rpc.reconfiguration import Health

NOT_ENOUGH = "etcdserver: re-configuration failed due to not enough started members"
UNHEALTHY = "etcdserver: unhealthy cluster"
NOT_FOUND = "etcdserver: member not found"
URL_EXISTS = "etcdserver: Peer URLs already exists"


def url(member: int) -> str:
    return f"http://m{member}:2380"


def of(*voters: int, learner: int = 0, removed: int = 0) -> dict[int, str]:
    members = {member: url(member) for member in voters}
    if learner:
        members[learner] = as_learner(url(learner))
    return members | ({removed: REMOVED} if removed else {})


def up(*active: int, started: tuple[int, ...] = ()) -> Health:
    return Health(frozenset(started or active), frozenset(active))


Change = Callable[[Members, Health], Members]


def adding(new_id: int, *, learner: bool = False, at: int = 0) -> Change:
    return partial(
        reconfiguration.add,
        new_id=new_id,
        urls=(url(at or new_id),),
        learner=learner,
        learners_max=1,
    )


def removing(gone: int) -> Change:
    return lambda members, health: reconfiguration.remove(members, health, gone)


def promoting(learner: int) -> Change:
    return lambda members, health: reconfiguration.promote(members, health, learner)


def moving(member: int, to: int) -> Change:
    return lambda members, _: reconfiguration.update(members, member, (url(to),))


@pytest.mark.parametrize(
    ("change", "members", "health", "after"),
    [
        pytest.param(adding(4), of(1, 2, 3), up(1, 2, 3), of(1, 2, 3, 4), id="a voter"),
        pytest.param(adding(2), of(1), up(1), of(1, 2), id="a second to a lone member"),
        pytest.param(
            adding(4, learner=True),
            of(1, 2, 3),
            up(1, 2, 3),
            of(1, 2, 3, learner=4),
            id="a learner",
        ),
        pytest.param(
            removing(3),
            of(1, 2, 3),
            up(1, 2, started=(1, 2, 3)),
            of(1, 2, removed=3),
            id="one down",
        ),
        pytest.param(removing(3), of(1, 2, 3), up(1, 2, 3), of(1, 2, removed=3), id="one up"),
        pytest.param(removing(2), of(1, 2), up(1, 2), of(1, removed=2), id="one of two"),
        pytest.param(removing(4), of(1, learner=4), up(1), of(1, removed=4), id="a learner goes"),
        pytest.param(
            promoting(4), of(1, 2, 3, learner=4), up(1, 2, 3), of(1, 2, 3, 4), id="promoted"
        ),
        pytest.param(
            moving(2, to=9), of(1, 2), up(1, 2), {1: url(1), 2: url(9)}, id="to another URL"
        ),
        pytest.param(
            moving(4, to=9),
            of(1, learner=4),
            up(1),
            {1: url(1), 4: as_learner(url(9))},
            id="a learner moves and stays one",
        ),
        pytest.param(
            adding(4, at=3),
            of(1, 2, removed=3),
            up(1, 2),
            {**of(1, 2, removed=3), 4: url(3)},
            id="to the URL of one that was removed",
        ),
    ],
)
def test_allowed(change: Change, members: Members, health: Health, after: Members) -> None:
    assert change(members, health) == after


@pytest.mark.parametrize(
    ("change", "members", "health", "text"),
    [
        pytest.param(adding(5), of(1, 2, 3, 4), up(1, 2), NOT_ENOUGH, id="too few ever started"),
        pytest.param(
            adding(4), of(1, 2, 3), up(1, 2, started=(1, 2, 3)), UNHEALTHY, id="add, one is down"
        ),
        pytest.param(
            adding(4, learner=True),
            of(1, 2, 3),
            up(1, 2, started=(1, 2, 3)),
            UNHEALTHY,
            id="add a learner, one is down",
        ),
        pytest.param(adding(4, at=2), of(1, 2, 3), up(1, 2, 3), URL_EXISTS, id="add, URL taken"),
        pytest.param(
            adding(5, learner=True),
            of(1, 2, 3, learner=4),
            up(1, 2, 3),
            "etcdserver: too many learner members in cluster",
            id="a second learner",
        ),
        pytest.param(removing(9), of(1, 2, 3), up(1, 2, 3), NOT_FOUND, id="remove a stranger"),
        pytest.param(removing(9), of(1, 2, removed=9), up(1, 2), NOT_FOUND, id="remove it again"),
        pytest.param(removing(1), of(1), up(1), NOT_ENOUGH, id="remove the last"),
        pytest.param(
            removing(1), of(1, 2, 3), up(1, 2, started=(1, 2, 3)), UNHEALTHY, id="remove, one down"
        ),
        pytest.param(
            removing(1), of(1, 2), up(1), NOT_ENOUGH, id="remove the only one that started"
        ),
        pytest.param(promoting(9), of(1, learner=4), up(1), NOT_FOUND, id="promote a stranger"),
        pytest.param(
            promoting(2),
            of(1, 2),
            up(1, 2),
            "etcdserver: can only promote a learner member",
            id="promote a voter",
        ),
        pytest.param(
            promoting(5), of(1, 2, 3, learner=5), up(1), NOT_ENOUGH, id="promote, few started"
        ),
        pytest.param(moving(9, to=8), of(1, 2), up(1, 2), NOT_FOUND, id="move a stranger"),
        pytest.param(moving(1, to=2), of(1, 2), up(1, 2), URL_EXISTS, id="move onto another"),
    ],
)
def test_refused(change: Change, members: Members, health: Health, text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        change(members, health)
    assert refused.value.refusal.message == text


@pytest.mark.parametrize(
    "urls", [(), ("m1:2380",), ("http://m1",), ("ftp://m1:1",), ("http://m1:1/x",), ("http://m:x",)]
)
def test_bad_urls_are_refused(urls: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="given member URLs are invalid"):
        reconfiguration.checked_urls(urls)
