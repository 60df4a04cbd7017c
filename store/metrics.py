"""A member's figures under etcd's names, read when somebody asks; text format of Prometheus.

Rendered here and not by a library, whose counters must all end in `_total` and etcd's do not.
Source: etcd, docs (metrics); the names that dashboards and alerts for etcd use.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import psutil

from store.figures import FIGURES, Histogram, Transfers
from store.health_tally import HealthTally
from store.housekeeping import Housekeeping
from store.raft.engine import Role
from store.rpc.maintenance import ETCD_VERSION
from store.rpc.service import MemberServices

# Label values by label name, and the figure.
Sample = tuple[Mapping[str, str], float]
# Source: Go, strconv (FormatFloat).
_EXPONENT_FROM = 1e6
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """What one name stands for."""

    name: str
    kind: str
    help: str
    samples: list[Sample | tuple[Mapping[str, str], Histogram]]


def gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [({}, value)])


def counter(name: str, text: str, value: float) -> Family:
    return Family(name, "counter", text, [({}, value)])


def histogram(name: str, text: str, value: Histogram) -> Family:
    return Family(name, "histogram", text, [({}, value)])


def labelled(kind: str, name: str, text: str, samples: Iterable[Sample]) -> Family:
    return Family(name, kind, text, list(samples))


def families(
    services: MemberServices, housekeeping: Housekeeping, health: HealthTally
) -> Iterator[Family]:
    """All figures of the member."""
    yield from _server(services, housekeeping, health)
    yield from _storage(services)
    yield from _disk()
    yield from _peers(services)
    yield from _calls()
    yield from _process()


def _server(
    services: MemberServices, housekeeping: Housekeeping, health: HealthTally
) -> Iterator[Family]:
    status = services.engine.status()
    prefix = "etcd_server_"
    yield gauge(prefix + "has_leader", "Is a leader known.", status.leader is not None)
    yield gauge(prefix + "is_leader", "Is it this member.", status.role is Role.LEADER)
    yield gauge(prefix + "is_learner", "Is this a learner.", status.role is Role.LEARNER)
    changes = housekeeping.leader_changes
    yield counter(prefix + "leader_changes_seen_total", "Leaders seen come.", changes)
    yield gauge(prefix + "proposals_committed_total", "The commit index.", status.commit_index)
    yield gauge(prefix + "proposals_applied_total", "The applied index.", status.applied_index)
    pending = status.last_index - status.commit_index
    yield gauge(prefix + "proposals_pending", "Entries that are not committed.", pending)
    failed = FIGURES.proposals_failed
    yield counter(prefix + "proposals_failed_total", "Proposals without an outcome.", failed)
    failed = FIGURES.reads_failed
    yield counter(prefix + "read_indexes_failed_total", "Reads that no quorum confirmed.", failed)
    slow = FIGURES.slow_reads
    yield counter(prefix + "slow_read_indexes_total", "Reads a quorum took 0.5 s for.", slow)
    late = FIGURES.late_heartbeats
    yield counter(prefix + "heartbeat_send_failures_total", "Heartbeats given late.", late)
    promoted = FIGURES.promotions
    yield counter(prefix + "learner_promote_successes", "Learners promoted.", promoted)
    failures = [({"Reason": why}, count) for why, count in FIGURES.failed_promotions.items()]
    if failures:
        name = prefix + "learner_promote_failures"
        yield labelled("counter", name, "Learners not promoted.", failures)
    installing = FIGURES.installing
    name = prefix + "snapshot_apply_in_progress_total"
    yield gauge(name, "Snapshots of a peer being taken over.", installing)
    applied = [
        ({"op": name, "success": str(done).lower(), "version": "v3"}, found)
        for (name, done), found in FIGURES.apply_s.items()
    ]
    name = prefix + "apply_duration_seconds"
    yield Family(name, "histogram", "What applying a command took.", list(applied))
    slow = FIGURES.slow_applies
    yield counter(prefix + "slow_apply_total", "Batches that took over 0.1 s to apply.", slow)
    quota = services.options.quota_bytes
    yield gauge(prefix + "quota_backend_bytes", "The size at which growth is refused.", quota)
    yield counter(prefix + "health_success", "Health checks that passed.", health.successes)
    yield counter(prefix + "health_failures", "Health checks that failed.", health.failures)
    cluster_version = ETCD_VERSION.rpartition(".")[0]
    for name, label, value in (
        ("etcd_server_version", "server_version", ETCD_VERSION),
        ("etcd_cluster_version", "cluster_version", cluster_version),
        ("etcd_server_id", "server_id", f"{services.member_id:x}"),
    ):
        yield labelled("gauge", name, "Always 1.", [({label: value}, 1)])


def _storage(services: MemberServices) -> Iterator[Family]:
    store = services.store
    total, used = store.backend.file_bytes()
    mvcc, debug, lease = "etcd_mvcc_", "etcd_debugging_mvcc_", "etcd_debugging_lease_"
    yield gauge(mvcc + "db_total_size_in_bytes", "The database file.", total)
    yield gauge(mvcc + "db_total_size_in_use_in_bytes", "What of it is in use.", used)
    for name, value in (
        ("put", FIGURES.puts),
        ("delete", FIGURES.deletes),
        ("txn", FIGURES.txns),
        ("range", FIGURES.ranges),
    ):
        yield counter(f"{mvcc}{name}_total", f"Operations of the kind {name}.", value)
    yield counter(debug + "range_total", "The same.", FIGURES.ranges)
    size = FIGURES.put_bytes
    yield gauge(debug + "total_put_size_in_bytes", "Bytes of all keys and values put.", size)
    yield gauge(debug + "keys_total", "Living keys.", store.index.count(b"\0", b""))
    yield gauge(debug + "current_revision", "The revision.", store.revision)
    yield gauge(debug + "compact_revision", "History begins here.", store.compacted)
    yield counter(debug + "events_total", "Events handed to the watchers.", FIGURES.events)
    yield gauge(debug + "watcher_total", "Watchers that are up to date.", services.hub.count())
    yield gauge(debug + "watch_stream_total", "Streams of watches.", FIGURES.watch_streams)
    yield gauge(lease + "current_total", "Living leases.", len(store.lessor.ids()))
    yield counter(lease + "granted_total", "Leases granted.", FIGURES.leases_granted)
    yield counter(lease + "renewed_total", "Leases renewed.", FIGURES.leases_renewed)
    yield counter(lease + "revoked_total", "Leases ended.", FIGURES.leases_revoked)
    yield histogram(lease + "ttl_total", "TTLs of leases granted.", FIGURES.lease_ttl_s)
    expired = FIGURES.leases_expired
    yield counter("etcd_debugging_server_lease_expired_total", "Leases that ran out.", expired)
    yield from _walks()
    revision = services.machine.auth.revision
    yield gauge("etcd_debugging_auth_revision", "The revision of users and roles.", revision)


def _walks() -> Iterator[Family]:
    """What goes through a whole history."""
    text = "Hashes of all history, in seconds."
    yield histogram("etcd_mvcc_hash_duration_seconds", text, FIGURES.hash_s)
    text = "Hashes of history up to a revision, in seconds."
    yield histogram("etcd_mvcc_hash_rev_duration_seconds", text, FIGURES.hash_of_revision_s)
    prefix = "etcd_debugging_mvcc_db_compaction_"
    cleared = FIGURES.compacted_records
    yield counter(prefix + "keys_total", "Records that compactions cleared up.", cleared)
    last = FIGURES.compacted_at
    yield gauge(prefix + "last", "When clearing up last ended, since 1970; 0: never.", last)
    text = "Clearing up after a compaction."
    yield histogram(prefix + "total_duration_milliseconds", text, FIGURES.compaction_ms)
    text = "One step of it, while nothing else is done."
    yield histogram(prefix + "pause_duration_milliseconds", text, FIGURES.compaction_step_ms)


def _disk() -> Iterator[Family]:
    text = "Syncs of the log, in seconds."
    yield histogram("etcd_disk_wal_fsync_duration_seconds", text, FIGURES.wal_sync_s)
    yield gauge("etcd_disk_wal_write_bytes_total", "Bytes of the log.", FIGURES.wal_bytes)
    text = "Flushes of the database, in seconds."
    yield histogram("etcd_disk_backend_commit_duration_seconds", text, FIGURES.flush_s)
    text = "Snapshots handed to clients, in seconds."
    yield histogram("etcd_disk_backend_snapshot_duration_seconds", text, FIGURES.snapshot_s)
    text = "Defragmentations, in seconds."
    yield histogram("etcd_disk_backend_defrag_duration_seconds", text, FIGURES.defragmentation_s)
    yield gauge("etcd_disk_defrag_inflight", "Defragmentations now.", FIGURES.defragmenting)


def _peers(services: MemberServices) -> Iterator[Family]:
    status = services.engine.status()
    here, prefix = f"{services.member_id:x}", "etcd_network_"
    others = [peer for peer in status.voters if peer != status.member_id]
    active = [
        ({"Local": here, "Remote": f"{peer:x}"}, int(peer not in status.silent_peers))
        for peer in others
    ]
    yield labelled("gauge", prefix + "active_peers", "Peers heard of.", active)
    sent = [({"To": f"{peer:x}"}, size) for peer, size in FIGURES.peer_bytes_sent.items()]
    yield labelled("counter", prefix + "peer_sent_bytes_total", "Bytes to peers.", sent)
    got = [({"From": f"{peer:x}"}, size) for peer, size in FIGURES.peer_bytes_received.items()]
    yield labelled("counter", prefix + "peer_received_bytes_total", "Bytes from peers.", got)
    trips = [({"To": f"{peer:x}"}, found) for peer, found in FIGURES.peer_round_trip_s.items()]
    text = "Between a sign of life asked for and given."
    yield Family(prefix + "peer_round_trip_time_seconds", "histogram", text, list(trips))
    lost = [
        ({"Local": here, "Remote": f"{peer:x}"}, count)
        for peer, count in FIGURES.peer_losses.items()
    ]
    yield from _seen(labelled("counter", prefix + "disconnected_peers_total", "Peers lost.", lost))
    yield from _snapshots(prefix + "snapshot_send_", "To", FIGURES.snapshots_sent)
    yield from _snapshots(prefix + "snapshot_receive_", "From", FIGURES.snapshots_received)


def _snapshots(prefix: str, label: str, by_peer: Mapping[int, Transfers]) -> Iterator[Family]:
    """Snapshots to or from peers; nothing where there was none, as in etcd."""
    all_of_them = [({label: f"{peer:x}"}, found) for peer, found in by_peer.items()]
    took = [(labels, found.took_s) for labels, found in all_of_them if found.done]
    done = [(labels, float(found.done)) for labels, found in all_of_them if found.done]
    failed = [(labels, float(found.failed)) for labels, found in all_of_them if found.failed]
    now = [(labels, float(found.under_way)) for labels, found in all_of_them]
    yield from _seen(labelled("counter", prefix + "success", "Snapshots that came over.", done))
    yield from _seen(labelled("counter", prefix + "failures", "Those that did not.", failed))
    yield from _seen(labelled("gauge", prefix + "inflights_total", "Under way.", now))
    name = prefix + "total_duration_seconds"
    yield from _seen(Family(name, "histogram", "How long they took.", list(took)))


def _seen(family: Family) -> Iterator[Family]:
    if family.samples:
        yield family


def _calls() -> Iterator[Family]:
    started: list[Sample] = []
    handled: list[Sample] = []
    for (service, method, kind), tally in sorted(FIGURES.calls.items()):
        labels = {"grpc_method": method, "grpc_service": service, "grpc_type": kind}
        started.append((labels, tally.started))
        codes = sorted(tally.codes.items())
        handled += [({"grpc_code": code, **labels}, count) for code, count in codes]
    yield labelled("counter", "grpc_server_started_total", "Calls begun.", started)
    yield labelled("counter", "grpc_server_handled_total", "Calls ended.", handled)
    received, sent = FIGURES.client_bytes_received, FIGURES.client_bytes_sent
    prefix = "etcd_network_client_grpc_"
    yield counter(prefix + "received_bytes_total", "Bytes of requests.", received)
    yield counter(prefix + "sent_bytes_total", "Bytes of answers.", sent)


def _process() -> Iterator[Family]:
    process = psutil.Process()
    with process.oneshot():
        memory, times = process.memory_info(), process.cpu_times()
        open_files, began = process.num_fds(), process.create_time()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room, _ = resource.getrlimit(resource.RLIMIT_AS)
    spent = times.user + times.system
    yield counter("process_cpu_seconds_total", "Processor time.", spent)
    yield gauge("process_resident_memory_bytes", "Memory in use.", memory.rss)
    yield gauge("process_virtual_memory_bytes", "Memory mapped.", memory.vms)
    yield gauge("process_virtual_memory_max_bytes", "What may be mapped; -1: any.", room)
    yield gauge("process_open_fds", "Open files.", open_files)
    yield gauge("process_max_fds", "How many may be open.", limit)
    yield gauge("process_start_time_seconds", "When it began, since 1970.", began)
    yield gauge("os_fd_used", "Open files.", open_files)
    yield gauge("os_fd_limit", "How many may be open.", limit)


def render(found: Iterable[Family]) -> bytes:
    """The text format, version 0.0.4."""
    lines: list[str] = []
    for family in found:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            if isinstance(value, Histogram):
                lines += _buckets(family.name, labels, value)
            else:
                lines.append(f"{family.name}{_labels(labels)} {_number(value)}")
    return ("\n".join(lines) + "\n").encode()


def _buckets(name: str, labels: Mapping[str, str], value: Histogram) -> Iterator[str]:
    bounds = [*map(_bound, value.bounds), "+Inf"]
    counts = list(accumulate(value.counts))
    for bound, count in zip(bounds, counts, strict=True):
        yield f"{name}_bucket{_labels({**labels, 'le': bound})} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(value.total)}"
    yield f"{name}_count{_labels(labels)} {counts[-1]}"


def _labels(labels: Mapping[str, str]) -> str:
    """Values are ids, versions and names of methods: nothing that would need escaping."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _bound(value: float) -> str:
    """As Go writes it, for dashboards compare the text."""
    if value < _EXPONENT_FROM:
        return _number(value)
    digits, exponent = f"{value:.15e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{exponent}"


def _number(value: float) -> str:
    return f"{int(value)}" if value == int(value) else repr(float(value))
