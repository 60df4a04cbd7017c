"""Whether the proxy is up to date, and which Services have Pods here, as HTTP tells it. Pure.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies"; kube-proxy's /healthz, /livez;
"Create an External Load Balancer" (health check node ports); KEP-3836.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from agents.proxy.service_ports import Place, is_proxied, local_ready_count
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.api.time import Clock, format_time
from kubraft.grpc_server.exchange import HttpResponse

# A change that waits for longer than this means that the proxy does not get on.
LATE_AFTER_S: Final = 60.0

_JSON: Final = (("content-type", "application/json"), ("x-content-type-options", "nosniff"))


class ProxyHealth:
    """Remembers when a sync was asked for and when the last one ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting_since_s: float | None = None
        self._updated = clock.now()
        self.node_is_going = False

    def queued(self) -> None:
        """Something has changed."""
        if self._waiting_since_s is None:
            self._waiting_since_s = self._clock.monotonic_s()

    def updated(self) -> None:
        """All that has changed is seen to."""
        self._waiting_since_s = None
        self._updated = self._clock.now()

    @property
    def is_healthy(self) -> bool:
        waiting_s = self._waiting_since_s
        return waiting_s is None or self._clock.monotonic_s() - waiting_s < LATE_AFTER_S

    def answer(self, probe: str) -> HttpResponse:
        """To "healthz", which load balancers ask, or "livez", which knows of the proxy only."""
        going = probe == "healthz" and self.node_is_going
        now = self._clock.now()
        body: dict[str, object] = {
            # A proxy that waits for nothing is up to date now.
            "lastUpdated": format_time(now if self._waiting_since_s is None else self._updated),
            "currentTime": format_time(now),
        }
        if probe == "healthz":
            body["nodeEligible"] = not self.node_is_going
        code = 200 if self.is_healthy and not going else 503
        return HttpResponse(code, orjson.dumps(body), _JSON)


class Checked(NamedTuple):
    """A Service whose load balancer asks each node whether it has a Pod of it."""

    service: ObjectKey
    endpoints: int


def checked_of(
    service: Object, slices: Iterable[Object], place: Place
) -> tuple[int, Checked] | None:
    """The health check node port of a Service and what it tells; None where it has none."""
    spec = service.get("spec") or {}
    number = spec.get("healthCheckNodePort")
    if not number or spec.get("type") != "LoadBalancer" or not is_proxied(service):
        return None
    if spec.get("externalTrafficPolicy") != "Local":
        return None
    return number, Checked(key_of(service), local_ready_count(slices, place))


def answer_for(checked: Checked, *, healthy: bool) -> HttpResponse:
    """What a load balancer is told: 200 where a Pod is here and the proxy is up to date."""
    body = {
        "service": {"namespace": checked.service.namespace, "name": checked.service.name},
        "localEndpoints": checked.endpoints,
        "serviceProxyHealthy": healthy,
    }
    headers = (*_JSON, ("x-load-balancing-endpoint-weight", str(checked.endpoints)))
    code = 200 if checked.endpoints and healthy else 503
    return HttpResponse(code, orjson.dumps(body, option=orjson.OPT_INDENT_2), headers)
