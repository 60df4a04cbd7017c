"""A state that goes on in another cluster: what is of members goes, what is of keys stays.

Source: etcd, etcdutl/snapshot (TrimMembershipFromBackend, modifyLatestRevision).
"""

from __future__ import annotations

from store.mvcc.alarms import META_ALARM
from store.mvcc.backend import Backend
from store.mvcc.machine import META_APPLIED, META_MEMBER
from store.mvcc.store import META_COMPACTED, META_REVISION, NEVER_COMPACTED, REVISION_FIRST

# Source: store.raft.log, FIRST_INDEX: no log begins before it.
_INDEX_MIN = 1


def begin_anew(backend: Backend, *, term: int, revision_bump: int) -> int:
    """Forget the members and their alarms, and stand at the start of a new log; flushed.

    The new log begins one entry behind the old one, so that whatever was noted under an index of
    the old, as renewals of leases are, is not met again.

    Args:
        backend: holds a flushed state and nothing else.
        term: of the new log's first index.
        revision_bump: added to the revision, which then counts as compacted; 0 for neither.

    Returns:
        The index that the new log begins behind.

    Raises:
        OSError, lmdb.Error: it cannot be written.
    """
    old = int((backend.meta(META_APPLIED) or b"0 0").split()[0])
    index = max(old + 1, _INDEX_MIN)
    for prefix in (META_MEMBER, META_ALARM):
        for name, _ in backend.all_meta(prefix):
            backend.set_meta(name, None)
    revision = int(backend.meta(META_REVISION) or REVISION_FIRST)
    compacted = int(backend.meta(META_COMPACTED) or NEVER_COMPACTED)
    if revision_bump:
        revision += revision_bump
        compacted = revision
    backend.set_meta(META_APPLIED, b"%d %d" % (index, term))
    backend.set_meta(META_REVISION, b"%d" % revision)
    backend.set_meta(META_COMPACTED, b"%d" % compacted)
    backend.flush()
    return index
