"""A new member of a new cluster from a snapshot: `snapshot restore`.

Keys with their history, leases, users and roles stay; members, alarms and ids are those of the new
cluster. Every member restores the same file with the same `initial_cluster` and token, and all
begin behind the same log index, which no entry of any log was ever written at. Nothing is left of
an attempt that fails. Source: etcd, etcdutl/snapshot (v3_snapshot.go).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store import identity
from store.config import InitialMember, check_in_initial_cluster, initial_cluster
from store.directory import make_directory, sync_directory
from store.mvcc import renewal
from store.offline.database import opened, unpack
from store.offline.snapshot import SnapshotError
from store.raft.disk import DiskDirectory
from store.raft.log import Base, HardState, LogImage
from store.raft.wal import Identity, begin_wal

# No member votes or leads in it: the first election is for the next term.
_TERM = 1


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a member is to begin with.

    Attributes:
        peer_urls: this member's own, as in `members`.
        wal_dir: `wal` in `data_dir` where absent.
        revision_bump: how far the revision jumps, and with it all history behind it is compacted,
            so that no watch and no cache goes on from a revision of before; 0 leaves all as it was.
    """

    name: str
    members: tuple[InitialMember, ...]
    peer_urls: tuple[str, ...]
    data_dir: Path
    wal_dir: Path | None = None
    revision_bump: int = 0
    skip_hash_check: bool = False


def plan(
    *,
    name: str,
    cluster: str,
    token: str,
    peer_urls: Sequence[str],
    data_dir: Path,
    wal_dir: Path | None = None,
    revision_bump: int = 0,
    skip_hash_check: bool = False,
) -> RestorePlan:
    """Raises FlagError: the member is not in the cluster, or at another URL."""
    members = initial_cluster(cluster, token)
    check_in_initial_cluster(members, name, peer_urls)
    return RestorePlan(
        name, members, tuple(peer_urls), data_dir, wal_dir, revision_bump, skip_hash_check
    )


def restore(snapshot: Path, wanted: RestorePlan) -> Identity:
    """Make the data directory of a member; returns who it is.

    Raises:
        SnapshotError: the snapshot is damaged, or the data directory is not empty.
        OSError: a file cannot be read or written.
    """
    _check_empty(wanted.data_dir)
    if wanted.wal_dir is not None and wanted.wal_dir.exists():
        raise SnapshotError(f'wal-dir "{wanted.wal_dir}" exists')
    parent = wanted.data_dir.absolute().parent
    make_directory(parent)
    making = Path(tempfile.mkdtemp(prefix=f".{wanted.data_dir.name}.", dir=parent))
    try:
        who = _fill(making, snapshot, wanted)
        making.replace(wanted.data_dir)
        sync_directory(parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        if wanted.wal_dir is not None:
            shutil.rmtree(wanted.wal_dir, ignore_errors=True)
        raise
    return who


def _fill(directory: Path, snapshot: Path, wanted: RestorePlan) -> Identity:
    state = directory / "state"
    make_directory(state)
    unpack(snapshot, state, skip_hash_check=wanted.skip_hash_check)
    with opened(state) as backend:
        index = renewal.begin_anew(backend, term=_TERM, revision_bump=wanted.revision_bump)
    own = next(member.id for member in wanted.members if member.name == wanted.name)
    who = Identity(identity.cluster_id(member.id for member in wanted.members), own)
    voters = {member.id: ",".join(member.peer_urls) for member in wanted.members}
    base = Base(index, _TERM, voters)
    image = LogImage(HardState(term=_TERM, vote=0, commit=index), base)
    log = DiskDirectory(wanted.wal_dir or directory / "wal")
    try:
        begin_wal(log, who, image)
    finally:
        log.close()
    return who


def _check_empty(directory: Path) -> None:
    try:
        empty = not any(directory.iterdir())
    except FileNotFoundError:
        return
    except OSError:
        empty = False
    if not empty:
        raise SnapshotError(f'data-dir "{directory}" not empty or could not be read')
