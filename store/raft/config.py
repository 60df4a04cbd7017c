"""What a member's consensus is told at its start. Read-only values; no I/O."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from store.raft.engine import MemberID


@dataclass(frozen=True, slots=True)
class PeerTls:
    """How members recognise each other: on the connections they take, and on those they make."""

    accept: ssl.SSLContext
    dial: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """How one member takes part in its cluster.

    `RaftEngine(config, state_machine)` keeps its write-ahead log and received snapshots below
    `data_dir` (it makes `data_dir/wal` and `data_dir/snap`) and listens on `listen_urls`.

    Attributes:
        name: the member's name, for log lines only.
        member_id: positive, below 2**63, the same over every restart.
        cluster_id: positive, below 2**64; a data directory or peer of another cluster is refused.
        peers: the peer URL of every member of the first configuration, this one included (several
            with commas, tried in turn); `https://` needs `tls`, `http://` is plain text. Taken from
            the log once there is one.
        joins: this member is added to a cluster that runs: it knows of `peers` only where to find
            them, and learns the configuration from the log or a snapshot.
        wal_dir: where the log lies; `wal` in `data_dir` where absent.
        detours: where to dial a peer instead of at its own URL, through a relay for instance.
        listen_urls: where to listen for peers; at this member's own peer URLs where empty.
        heartbeat_ms: how often a leader shows that it lives.
        election_ms: silence after which a follower campaigns (randomised up to 1.5 times), and
            after which a leader that hears no quorum steps down; over 3 heartbeats.
        proposal_timeout_ms: how long `propose` and `read_index` try, over elections if need be.
        compact_entries: entries applied between two log compactions (etcd: `--snapshot-count`).
        retained_entries: entries kept behind a log compaction for followers that lag a little.
        proposal_bytes_max: size of the largest proposal.
    """

    name: str
    member_id: MemberID
    cluster_id: int
    peers: Mapping[MemberID, str]
    data_dir: Path
    joins: bool = False
    detours: Mapping[MemberID, str] = field(default_factory=dict)
    wal_dir: Path | None = None
    listen_urls: tuple[str, ...] = ()
    tls: PeerTls | None = None
    heartbeat_ms: int = 100
    election_ms: int = 1000
    proposal_timeout_ms: int = 3500
    compact_entries: int = 10_000
    retained_entries: int = 5_000
    proposal_bytes_max: int = 4 << 20

    def __post_init__(self) -> None:
        if self.member_id not in self.peers and not self.joins:
            raise ValueError(f"{self.name}: not among the initial cluster members")
        if not 0 < self.member_id < 1 << 63 or not 0 < self.cluster_id < 1 << 64:
            raise ValueError(f"{self.name}: member or cluster id out of range")
        if self.heartbeat_ms < 10 or self.election_ms <= 3 * self.heartbeat_ms:
            raise ValueError(
                f"{self.name}: election timeout {self.election_ms} ms must be over 3 heartbeats "
                f"of at least 10 ms, got {self.heartbeat_ms} ms"
            )
