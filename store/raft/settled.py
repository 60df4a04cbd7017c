"""Changes of membership that are made before they are committed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from store.raft.codec import decode_voters
from store.raft.log import Log
from store.raft.membership import Members, voters
from store.raft.messages import KIND_MEMBERSHIP, Entry


def settled(log: Log, members: Members, own: int, applied: int) -> Iterator[tuple[Entry, Members]]:
    """The change that the only voter has on its disk, and what it makes of `members`.

    The second voter of a cluster is needed to commit its own coming, and comes once it is told that
    it may. Nothing can undo the entry: whoever leads needs this member's vote, and so its log.
    Source: etcd, where a change is committed by the configuration before it.

    Args:
        members: the configuration as of `applied`.
        own: this member.
    """
    if list(voters(members)) == [own]:
        for entry in log.between(applied, log.stable_index):
            if entry.data[0] == KIND_MEMBERSHIP:
                yield entry, decode_voters(entry.data[1:])
                return
