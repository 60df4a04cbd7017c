"""What the name server counts, under CoreDNS' names.

Source: CoreDNS, plugins metrics, cache and forward.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from dnslib import QTYPE, RCODE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agents.dns.forwarder import Forwarder
from agents.dns.message import Query
from agents.dns.names import Labels, below

# Each type of its own would let strangers make as many series as they like.
_TYPES: Final = frozenset(
    ("A", "AAAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "ANY")
)
_SECONDS: Final = tuple(0.00025 * 2**power for power in range(16))
_BYTES: Final = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000)
_SERVER: Final = "dns://:53"


class Metrics:
    """Observes a name server."""

    def __init__(self, domain: Labels, forwarder: Forwarder) -> None:
        self._registry = registry = CollectorRegistry()
        self._domain = domain
        self._zone = ".".join((*domain, ""))
        where = ("server", "zone", "proto")
        self._requests = Counter(
            "coredns_dns_requests",
            "Queries.",
            (*where, "family", "type"),
            registry=registry,
        )
        self._responses = Counter(
            "coredns_dns_responses", "Answers.", (*where, "rcode"), registry=registry
        )
        self._duration = Histogram(
            "coredns_dns_request_duration_seconds",
            "Time from query to answer.",
            ("server", "zone"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._request_bytes = Histogram(
            "coredns_dns_request_size_bytes", "Size of queries.", where, buckets=_BYTES,
            registry=registry,
        )  # fmt: skip
        self._response_bytes = Histogram(
            "coredns_dns_response_size_bytes", "Size of answers.", where, buckets=_BYTES,
            registry=registry,
        )  # fmt: skip
        entries = Gauge("coredns_cache_entries", "Answers kept.", registry=registry)
        entries.set_function(lambda: len(forwarder.cache))
        # Counters that the forwarder keeps itself.
        for name, text, attribute in (
            ("coredns_cache_hits_total", "Answers from the cache.", "hits"),
            ("coredns_cache_misses_total", "Answers that were not there.", "misses"),
            ("coredns_forward_max_concurrent_rejects_total", "Too many at once.", "rejected"),
            ("coredns_proxy_requests_total", "Questions to other servers.", "asked"),
            ("coredns_proxy_request_failures_total", "Those without an answer.", "failed"),
        ):
            gauge = Gauge(name, text, registry=registry)
            gauge.set_function(partial(getattr, forwarder, attribute))

    def seen(self, proto: str, query: Query | None, size: int, sent: bytes, took_s: float) -> None:
        """Count one query and its answer."""
        zone, kind = "", "other"
        if query is not None:
            own = below(query.question.labels, self._domain) is not None
            zone = self._zone if own else "."
            name = QTYPE.forward.get(query.question.kind, "")
            kind = name if name in _TYPES else "other"
        where = (_SERVER, zone, proto)
        self._requests.labels(*where, "1", kind).inc()
        self._responses.labels(*where, RCODE.forward.get(sent[3] & 0xF, "other")).inc()
        self._duration.labels(_SERVER, zone).observe(took_s)
        self._request_bytes.labels(*where).observe(size)
        self._response_bytes.labels(*where).observe(len(sent))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
