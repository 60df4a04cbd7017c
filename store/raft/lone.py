"""`--force-new-cluster`: a member whose cluster is lost goes on alone with what it has.

One more entry says that the others were removed for good. With one voter left, all that is in the
log is committed by it, also what the lost cluster had not committed yet: nothing that was
acknowledged is dropped. Source: etcd, server/etcdserver (bootstrap.go, ForceNewCluster).
"""

from __future__ import annotations

from store.raft.codec import decode_voters, encode_voters
from store.raft.disk import Directory
from store.raft.log import HardState, LogImage
from store.raft.membership import REMOVED, Members, present, urls_of
from store.raft.messages import KIND_MEMBERSHIP, Entry
from store.raft.packing import MEMBERSHIP
from store.raft.wal import Identity, WalError, open_wal


def make_lone(directory: Directory, identity: Identity) -> list[int]:
    """Make the member of this log the only one; while nothing else uses the log.

    Returns:
        Who is no member any more, none where it was alone already.

    Raises:
        WalError: the log is damaged, cannot be written, or says that this member was removed.
    """
    wal, image = open_wal(directory, identity, {})
    members = newest_members(image)
    own = members.get(identity.member_id, REMOVED)
    if own == REMOVED:
        raise WalError(f"{directory.label}: this member is none of its cluster")
    others = [member for member in present(members) if member != identity.member_id]
    alone = {**dict.fromkeys(members, REMOVED), identity.member_id: urls_of(own)}
    if alone == members:
        return []
    last = image.entries[-1].index if image.entries else image.base.index
    state = image.hard_state
    # A term of its own, for in the old one another member may have led, and may live.
    term = state.term + 1
    entry = Entry(MEMBERSHIP + encode_voters(alone), last + 1, term)
    wal.write([HardState(term, 0, state.commit), entry])
    return others


def newest_members(image: LogImage) -> Members:
    """The configuration as of the last entry, committed or not."""
    for entry in reversed(image.entries):
        if entry.data[0] == KIND_MEMBERSHIP:
            return decode_voters(entry.data[1:])
    return image.base.voters
