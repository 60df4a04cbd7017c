"""Which changes of membership are allowed, and what they make of a configuration. Pure.

Rules, codes and texts are etcd's under its strict reconfiguration check. Source: etcd,
server/etcdserver (mayAddMember, mayRemoveMember, mayPromoteMember) and api/membership
(ValidateConfigurationChange), api/v3rpc/rpctypes (error.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from grpc import StatusCode

from store.raft.membership import (
    REMOVED,
    Members,
    as_learner,
    is_learner,
    learners,
    present,
    urls_of,
    voters,
)
from store.rpc.errors import Refusal, RefusedError

_URLS_BYTES_MAX = 1000

NOT_ENOUGH_STARTED = Refusal(
    StatusCode.FAILED_PRECONDITION,
    "etcdserver: re-configuration failed due to not enough started members",
)
UNHEALTHY = Refusal(StatusCode.UNAVAILABLE, "etcdserver: unhealthy cluster")
NOT_FOUND = Refusal(StatusCode.NOT_FOUND, "etcdserver: member not found")
BAD_URLS = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
URL_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
NOT_LEARNER = Refusal(
    StatusCode.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"
)
LEARNER_NOT_READY = Refusal(
    StatusCode.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member which is in sync with leader",
)
TOO_MANY_LEARNERS = Refusal(
    StatusCode.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster"
)


@dataclass(frozen=True, slots=True)
class Health:
    """Members that have run at least once, and voters that answer now, this member included."""

    started: frozenset[int]
    active: frozenset[int]


def checked_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """Peer URLs in order.

    Raises:
        RefusedError: one is not `http(s)://host:port`, or there is none.
    """
    for url in urls:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port is not None
        except ValueError:
            good = False
        if not good or parts.path or "," in url or " " in url:
            raise RefusedError(*BAD_URLS)
    if not urls or len(",".join(urls).encode()) > _URLS_BYTES_MAX:
        raise RefusedError(*BAD_URLS)
    return tuple(sorted(urls))


def add(
    members: Members,
    health: Health,
    *,
    new_id: int,
    urls: Sequence[str],
    learner: bool,
    learners_max: int,
) -> Members:
    """Raises RefusedError: too few members are up, the URLs are taken, or learners are too many."""
    now = voters(members)
    started = len(health.started & now.keys())
    # A lone member may always get a second one: that is how a cluster is restored.
    enough = started >= _quorum(len(now) + 1) or (started == len(now) == 1)
    if not learner and not enough:
        raise RefusedError(*NOT_ENOUGH_STARTED)
    # As in etcd all must answer, so that one more failure afterwards costs no quorum.
    if not now.keys() <= health.active:
        raise RefusedError(*UNHEALTHY)
    _check_free(members, urls)
    if learner and len(learners(members)) >= learners_max:
        raise RefusedError(*TOO_MANY_LEARNERS)
    place = ",".join(urls)
    return {**members, new_id: as_learner(place) if learner else place}


def remove(members: Members, health: Health, gone: int) -> Members:
    """Raises RefusedError: no such member, or what is left would have no quorum."""
    if gone not in present(members):
        raise RefusedError(*NOT_FOUND)
    now = voters(members)
    if gone in now:
        left = now.keys() - {gone}
        if len(health.started & left) < _quorum(len(left)):
            raise RefusedError(*NOT_ENOUGH_STARTED)
        # One that is down is no part of the quorum that is at work.
        if gone in health.active and len(health.active & left) < _quorum(len(left)):
            raise RefusedError(*UNHEALTHY)
    return {**members, gone: REMOVED}


def update(members: Members, moved: int, urls: Sequence[str]) -> Members:
    """Raises RefusedError: no such member, or the URLs are none or another's."""
    if moved not in present(members):
        raise RefusedError(*NOT_FOUND)
    urls = checked_urls(urls)
    _check_free({member: place for member, place in members.items() if member != moved}, urls)
    place = ",".join(urls)
    return {**members, moved: as_learner(place) if is_learner(members[moved]) else place}


def promote(members: Members, health: Health, learner: int) -> Members:
    """Whether the learner is in sync only the leader knows.

    Raises:
        RefusedError: no such member, no learner, or too few voters are up.
    """
    if learner not in present(members):
        raise RefusedError(*NOT_FOUND)
    if not is_learner(members[learner]):
        raise RefusedError(*NOT_LEARNER)
    now = voters(members)
    if len(health.started & now.keys()) + 1 < _quorum(len(now) + 1):
        raise RefusedError(*NOT_ENOUGH_STARTED)
    return {**members, learner: urls_of(members[learner])}


def _quorum(members: int) -> int:
    return members // 2 + 1


def _check_free(members: Members, urls: Sequence[str]) -> None:
    taken = {url for place in present(members).values() for url in urls_of(place).split(",")}
    if taken & set(urls):
        raise RefusedError(*URL_EXISTS)
