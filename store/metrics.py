"""A member's figures under etcd's names, read when somebody asks, so that they cost nothing else.

Source: etcd, docs (metrics); the names that dashboards and alerts for etcd use.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from store.health_tally import HealthTally
from store.housekeeping import Housekeeping
from store.raft.engine import Role
from store.rpc.maintenance import ETCD_VERSION
from store.rpc.service import MemberServices


class MemberCollector(Collector):
    def __init__(
        self, services: MemberServices, housekeeping: Housekeeping, health: HealthTally
    ) -> None:
        self._services = services
        self._housekeeping = housekeeping
        self._health = health

    def collect(self) -> Iterator[Metric]:
        yield from self._server()
        yield from self._storage()
        yield from self._labelled()

    def _server(self) -> Iterator[Metric]:
        status = self._services.engine.status()
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        yield gauge(
            "etcd_server_has_leader", "Whether a leader is known.", int(status.leader is not None)
        )
        yield gauge(
            "etcd_server_is_leader", "Whether it is this member.", int(status.role is Role.LEADER)
        )
        yield gauge(
            "etcd_server_is_learner", "Whether it is a learner.", int(status.role is Role.LEARNER)
        )
        yield counter(
            "etcd_server_leader_changes_seen_total",
            "Leaders seen come.",
            self._housekeeping.leader_changes,
        )
        yield gauge(
            "etcd_server_proposals_committed_total", "The commit index.", status.commit_index
        )
        yield gauge(
            "etcd_server_proposals_applied_total", "The applied index.", status.applied_index
        )
        yield gauge(
            "etcd_server_proposals_pending",
            "Entries of the log that are not committed.",
            status.last_index - status.commit_index,
        )
        yield gauge(
            "etcd_server_quota_backend_bytes",
            "The size at which growth is refused.",
            self._services.options.quota_bytes,
        )
        yield counter(
            "etcd_server_health_success", "Health checks that passed.", self._health.successes
        )
        yield counter(
            "etcd_server_health_failures", "Health checks that failed.", self._health.failures
        )

    def _storage(self) -> Iterator[Metric]:
        store = self._services.store
        total, used = store.backend.file_bytes()
        gauge = GaugeMetricFamily
        yield gauge("etcd_mvcc_db_total_size_in_bytes", "The database file.", total)
        yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "What of it is in use.", used)
        yield gauge("etcd_debugging_mvcc_keys_total", "Living keys.", store.index.count(b"\0", b""))
        yield gauge("etcd_debugging_mvcc_current_revision", "The revision.", store.revision)
        yield gauge("etcd_debugging_mvcc_compact_revision", "History begins here.", store.compacted)
        yield gauge(
            "etcd_debugging_mvcc_watcher_total",
            "Watchers that are up to date.",
            self._services.hub.count(),
        )
        yield gauge("etcd_debugging_lease_current_total", "Living leases.", len(store.lessor.ids()))

    def _labelled(self) -> Iterator[Metric]:
        for name, label, value in (
            ("etcd_server_version", "server_version", ETCD_VERSION),
            ("etcd_cluster_version", "cluster_version", ETCD_VERSION.rpartition(".")[0]),
            ("etcd_server_id", "server_id", f"{self._services.member_id:x}"),
        ):
            family = GaugeMetricFamily(name, "Always 1.", labels=[label])
            family.add_metric([value], 1)
            yield family
        up = GaugeMetricFamily("etcd_network_active_peers", "Peers heard of.", labels=["Remote"])
        status = self._services.engine.status()
        for peer in status.voters:
            if peer != status.member_id:
                up.add_metric([f"{peer:x}"], int(peer not in status.silent_peers))
        yield up


def registry(
    services: MemberServices, housekeeping: Housekeeping, health: HealthTally
) -> CollectorRegistry:
    """The figures of the member and of its process."""
    found = CollectorRegistry()
    found.register(MemberCollector(services, housekeeping, health))
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    return found
