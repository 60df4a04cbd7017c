"""The proxy's figures, under kube-proxy's names.

Source: Kubernetes documentation, "Kubernetes Metrics Reference" (kube-proxy).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kubraft.api.object import Object
from kubraft.api.time import parse_time

TRIGGERED_ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"

_SYNC_S: Final = tuple(0.001 * 2**step for step in range(15))
# A quarter of a second at first, then whole seconds, tens of them, and minutes.
_PROGRAMMING_S: Final = (
    *(0.25, 0.5),
    *(float(second) for second in range(1, 60)),
    *(float(second) for second in range(60, 300, 5)),
    *(float(second) for second in range(300, 601, 30)),
)


class Figures:
    """Counts what a proxy does; one registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.sync_s = self._histogram("sync_proxy_rules_duration_seconds", "Of a sync")
        self.full_sync_s = self._histogram("sync_full_proxy_rules_duration_seconds", "Of all rules")
        self.partial_sync_s = self._histogram(
            "sync_partial_proxy_rules_duration_seconds", "Of the rules that change"
        )
        self.programming_s = Histogram(
            "kubeproxy_network_programming_duration_seconds",
            "From the change of a Pod or Service to its rules",
            buckets=_PROGRAMMING_S,
            registry=self._registry,
        )
        self.last_sync_s = self._gauge("sync_proxy_rules_last_timestamp_seconds", "Last sync")
        self.last_queued_s = self._gauge(
            "sync_proxy_rules_last_queued_timestamp_seconds", "Last change that asked for a sync"
        )
        self.endpoint_changes = self._counter(
            "sync_proxy_rules_endpoint_changes", "Changes of EndpointSlices"
        )
        self.service_changes = self._counter("sync_proxy_rules_service_changes", "Of Services")
        self.failures = self._counter(
            "sync_proxy_rules_nftables_sync_failures", "Transactions that failed"
        )
        self.no_local_endpoints = Gauge(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
            "Services whose policy is Local and which have no endpoints here",
            ("traffic_policy",),
            registry=self._registry,
        )
        self.flows_forgotten = self._counter(
            "conntrack_reconciler_deleted_entries", "Flows that were forgotten"
        )
        self.connections = Gauge(
            "kubraft_proxy_connections",
            "Connections that the user-space mode carries",
            registry=self._registry,
        )
        self.refused = Counter(
            "kubraft_proxy_refused_connections",
            "Connections that were reset by cause",
            ("cause",),
            registry=self._registry,
        )
        self._healthz = self._probes("healthz")
        self._livez = self._probes("livez")
        self._triggered: list[datetime] = []

    def probed(self, probe: str, code: int) -> None:
        """A probe was answered."""
        (self._healthz if probe == "healthz" else self._livez).labels(str(code)).inc()

    def triggered(self, endpoint_slice: Object) -> None:
        """A slice has changed; the moment of its cause counts at the end of the next sync."""
        self.endpoint_changes.inc()
        annotations = endpoint_slice["metadata"].get("annotations") or {}
        if moment := annotations.get(TRIGGERED_ANNOTATION):
            try:
                self._triggered.append(parse_time(moment))
            except ValueError:
                return

    def synced(self, took_s: float, now: datetime, *, full: bool) -> None:
        """A sync has ended well."""
        self.sync_s.observe(took_s)
        (self.full_sync_s if full else self.partial_sync_s).observe(took_s)
        self.last_sync_s.set(now.timestamp())
        for moment in self._triggered:
            self.programming_s.observe(max((now - moment).total_seconds(), 0.0))
        self._triggered.clear()

    def text(self) -> bytes:
        """All figures in Prometheus' text form."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"kubeproxy_{name}", text, buckets=_SYNC_S, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"kubeproxy_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"kubeproxy_{name}", text, registry=self._registry)

    def _probes(self, name: str) -> Counter:
        return Counter(
            f"kubeproxy_proxy_{name}", "Answers by code", ("code",), registry=self._registry
        )
