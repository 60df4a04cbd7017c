"""Makes the cluster's Pods find this server: the Service `kube-dns` and what is behind it.

The Service has no selector, as what is behind it is no Pod; its EndpointSlice is written here. Both
are put right again whenever somebody changes or deletes them.

Source: kubeadm's CoreDNS addon (name, namespace, labels, ports); Kubernetes documentation,
"Services without selectors".
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

from kubraft.api.backoff import Backoff
from kubraft.api.errors import AlreadyExistsError, ApiError, NotFoundError
from kubraft.api.gvk import ENDPOINT_SLICE, SERVICE, gvk_of
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.log import get_logger

KEY: Final = ObjectKey("kube-system", "kube-dns")
DNS_PORT: Final = 53
METRICS_PORT: Final = 9153
_MANAGED_BY: Final = "dns.kubraft.dev"
_RETRY_S_MIN, _RETRY_S_MAX = 0.2, 10.0


def service(cluster_ip: str) -> Object:
    """The Service; Pods' resolv.conf has its address."""
    ports = (
        ("dns", "UDP", DNS_PORT),
        ("dns-tcp", "TCP", DNS_PORT),
        ("metrics", "TCP", METRICS_PORT),
    )
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
            "annotations": {
                "prometheus.io/port": str(METRICS_PORT),
                "prometheus.io/scrape": "true",
            },
        },
        "spec": {
            "clusterIP": cluster_ip,
            "ports": [
                {"name": name, "protocol": protocol, "port": port, "targetPort": port}
                for name, protocol, port in ports
            ],
        },
    }


def endpoint_slice(address: str, port: int, metrics_port: int) -> Object:
    """Where this server listens."""
    ports = (("dns", "UDP", port), ("dns-tcp", "TCP", port), ("metrics", "TCP", metrics_port))
    return {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": ENDPOINT_SLICE.kind,
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/service-name": KEY.name,
                "endpointslice.kubernetes.io/managed-by": _MANAGED_BY,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": name, "protocol": protocol, "port": each} for name, protocol, each in ports
        ],
    }


class Registration:
    """Keeps both objects as they should be."""

    def __init__(
        self, client: ApiClient, clock: Clock, rng: Random, wanted: tuple[Object, ...]
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._wanted = wanted
        self._look = asyncio.Event()
        self._look.set()
        self._log = get_logger("dns.registration")

    def on_change(self, old: Object | None, new: Object | None) -> None:
        """Handler of an informer: look again where it is ours."""
        if key_of(new or old or {}) == KEY:
            self._look.set()

    async def run(self) -> None:
        """Keep them until cancelled."""
        backoff = Backoff(_RETRY_S_MIN, _RETRY_S_MAX, jitter=0.5, rng=self._rng)
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                for obj in self._wanted:
                    await self._ensure(obj)
            except ApiError as error:
                self._log.warning("not_registered", cause=error.message)
                self._look.set()
                await self._clock.sleep(backoff.next_s())
            else:
                backoff.reset()

    async def _ensure(self, wanted: Object) -> None:
        """Raises ApiError; a conflict among them, after which one looks again."""
        try:
            found = await self._client.get(gvk_of(wanted), KEY.name, KEY.namespace)
        except NotFoundError:
            try:
                await self._client.create(wanted)
            except AlreadyExistsError:
                self._look.set()
            return
        merged = _merged(found, wanted)
        if merged != found:
            await self._client.update(merged)


def _merged(found: Object, wanted: Object) -> Object:
    """What is there, with what must be there; a Service's address is never changed."""
    merged: dict[str, Any] = {**found}
    for name in ("endpoints", "ports", "addressType"):
        if name in wanted and not _says(found.get(name), wanted[name]):
            merged[name] = wanted[name]
    if "spec" in wanted and not _says(found["spec"].get("ports"), wanted["spec"]["ports"]):
        merged["spec"] = {**found["spec"], "ports": wanted["spec"]["ports"]}
    labels = {**(found["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
    if labels != found["metadata"].get("labels"):
        merged["metadata"] = {**found["metadata"], "labels": labels}
    return merged


def _says(found: Any, wanted: Any) -> bool:
    """Whether all of `wanted` is in `found`, which may say more (what the server filled in)."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_says(found.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list) and len(found) == len(wanted) and all(map(_says, found, wanted))
        )
    return bool(found == wanted)
