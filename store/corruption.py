"""Whose history differs from what the others have. Pure. Source: etcd, server/etcdserver (corrupt).

Hashes are compared where they are of the same revision and of a history that begins at the same
compaction. What most of the cluster has is right. Where no history has most of it, nobody knows
whose is: the alarm then goes under `NOBODYS`, for the cluster as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NOBODYS = 0


@dataclass(frozen=True, slots=True)
class MemberHash:
    """What a member says of its history.

    Attributes:
        member: whose.
        figure: the hash.
        revision: what it is the hash of, inclusive.
        compacted: where the history begins.
        newest: the revision the member had reached.
    """

    member: int
    figure: int
    revision: int
    compacted: int
    newest: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A member whose history is not that of the others, and how that shows."""

    member: int
    cause: str


def compare(hashes: Sequence[MemberHash], *, members: int) -> list[Finding]:
    """Members whose hash is not that of most.

    Args:
        hashes: those that could be had.
        members: how many the cluster has.
    """
    findings: list[Finding] = []
    groups: dict[tuple[int, int], list[MemberHash]] = {}
    for found in hashes:
        groups.setdefault((found.revision, found.compacted), []).append(found)
    for (revision, _), group in sorted(groups.items()):
        ((figure, count), *others) = Counter(found.figure for found in group).most_common()
        if not others:
            continue
        if count <= members // 2:
            who = ", ".join(f"{found.member:x}" for found in group)
            cause = f"members {who} differ at revision {revision}, and none has most with it"
            findings.append(Finding(NOBODYS, cause))
            continue
        findings += [
            Finding(found.member, f"hash differs from most members at revision {revision}")
            for found in group
            if found.figure != figure
        ]
    return findings


def ahead(hashes: Sequence[MemberHash], *, newest: int, compacted: int) -> list[Finding]:
    """Members that are further than the leader is after all that they can have heard of."""
    return [
        Finding(found.member, f"{what} {theirs} is above the leader's {leaders}")
        for found in hashes
        for what, theirs, leaders in (
            ("revision", found.newest, newest),
            ("compacted revision", found.compacted, compacted),
        )
        if theirs > leaders
    ]
