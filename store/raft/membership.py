"""A configuration: who belongs to the cluster, as values. Pure.

It maps the id of each member to its peer URLs with commas between; a learner's begin with a mark,
and a member that was removed for good keeps its id with no URL at all, so that ids never come back.
Every change is an entry that holds the whole new configuration: the newest one is all that counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from store.raft.codec import encode_voters

Members = Mapping[int, str]

_LEARNER = "learner "
REMOVED = ""


def as_learner(urls: str) -> str:
    return _LEARNER + urls


def is_learner(place: str) -> bool:
    return place.startswith(_LEARNER)


def urls_of(place: str) -> str:
    """The peer URLs, with commas; empty for one that was removed."""
    return place.removeprefix(_LEARNER)


def split_urls(place: str) -> tuple[str, ...]:
    """The URLs that are dialled, in turn."""
    return tuple(urls_of(place).split(","))


def voters(members: Members) -> dict[int, str]:
    """Those whose votes and acks count, with their URLs."""
    return {
        member: place
        for member, place in members.items()
        if place != REMOVED and not is_learner(place)
    }


def learners(members: Members) -> set[int]:
    return {member for member, place in members.items() if is_learner(place)}


def present(members: Members) -> dict[int, str]:
    """All but those that were removed."""
    return {member: place for member, place in members.items() if place != REMOVED}


def was_removed(members: Members, member: int) -> bool:
    return members.get(member) == REMOVED


def fingerprint(members: Members) -> int:
    """Names a configuration; a change says which one it was made for."""
    digest = hashlib.sha256(encode_voters(members)).digest()
    return int.from_bytes(digest[:8], "little") >> 1
