"""The Service `kubernetes`, by which what runs in the cluster finds the API servers.

Each server keeps a Lease that says where it listens; any of them writes the addresses of those
whose Lease is fresh into the Service's Endpoints and EndpointSlice. See docs/adr/0059.

Source: upstream's kubernetesservice controller and API server identities (names, labels).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from apiserver.reader import Reader, Writer
from apiserver.service_cidr import ensure_service_cidr
from kubraft.api.errors import AlreadyExistsError, ApiError
from kubraft.api.gvk import ENDPOINT_SLICE, ENDPOINTS, LEASE, SERVICE, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock, format_micro_time, format_time, parse_time
from kubraft.log import get_logger

NAME: Final = "kubernetes"
NAMESPACE: Final = "default"
LEASE_NAMESPACE: Final = "kube-system"
IDENTITY_LABEL: Final = "apiserver.kubernetes.io/identity"
ADVERTISED: Final = "kubraft.io/advertised"
LEASE_S: Final = 3600
RENEW_S: Final = 10.0
# Who was not heard of for so long gets no more clients; clocks may differ by a part of it.
SILENT_S_MAX: Final = 30.0
LEAVE_S_MAX: Final = 1.0

_log = get_logger("apiserver.kubernetes-service")


@dataclass(frozen=True, slots=True)
class Advertised:
    """Where an API server listens."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Advertised:
        """Read what `str` writes; ValueError where it is something else."""
        address, _, port = text.rpartition(":")
        return cls(str(ipaddress.ip_address(address.strip("[]"))), int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else (
            f"{self.address}:{self.port}"
        )  # fmt: skip


class KubernetesService:
    """One server's part in it; all of them write the same."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        *,
        identity: str,
        advertised: Advertised,
        service_range: str,
    ) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self._own, self._range = advertised, service_range
        digest = hashlib.sha256(f"{identity} {advertised}".encode()).digest()
        self._name = f"apiserver-{base64.b32encode(digest).decode().lower()[:26]}"
        self._holder = f"{self._name}_{uuid.uuid4()}"

    async def run(self) -> None:
        """Work until cancelled; then take this server out, if that goes quickly."""
        try:
            while True:
                try:
                    await self._renew()
                    await self._reconcile()
                except ApiError as error:  # the store is away, or another was faster: once more
                    _log.debug("kubernetes_service_not_kept", error=error.message)
                await asyncio.sleep(RENEW_S)
        finally:
            with contextlib.suppress(ApiError, TimeoutError):
                async with asyncio.timeout(LEAVE_S_MAX):
                    await self._leave()

    async def _renew(self) -> None:
        found = self._reader.get(LEASE, LEASE_NAMESPACE, self._name)
        now = format_micro_time(self._clock.now())
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": now,
        }
        if found is not None:
            await self._writer.update({**found, "spec": spec})
            return
        labels = {IDENTITY_LABEL: "kube-apiserver", "kubernetes.io/hostname": socket.gethostname()}
        lease = _named(LEASE, LEASE_NAMESPACE, self._name, labels)
        lease["metadata"]["annotations"] = {ADVERTISED: str(self._own)}
        await self._writer.create({**lease, "spec": {**spec, "acquireTime": now}})

    async def _reconcile(self, *, leaving: bool = False) -> None:
        now = self._clock.now()
        leases = list(self._reader.list(LEASE, LEASE_NAMESPACE))
        for name in ended(leases, now):
            with contextlib.suppress(ApiError):
                await self._writer.delete(LEASE, LEASE_NAMESPACE, name)
        listening = heard_of(leases, now)
        listening = listening - {self._own} if leaving else listening | {self._own}
        if not leaving:
            await ensure_service_cidr(
                self._reader, self._writer, self._range, format_time(self._clock.now())
            )
            await self._ensure(service(self._range, self._own.port))
        for obj in (endpoints(listening), endpoint_slice(listening)):
            await self._ensure(obj)

    async def _leave(self) -> None:
        await self._writer.delete(LEASE, LEASE_NAMESPACE, self._name)
        others = (
            lease
            for lease in self._reader.list(LEASE, LEASE_NAMESPACE)
            if lease["metadata"]["name"] != self._name
        )
        # Several replicas may listen at one address: the kernel shares its connections out.
        if self._own not in heard_of(others, self._clock.now()):
            await self._reconcile(leaving=True)

    async def _ensure(self, wanted: Object) -> None:
        gvk = GroupVersionKind(*_group(wanted["apiVersion"]), wanted["kind"])
        found = self._reader.get(gvk, NAMESPACE, NAME)
        if found is None:
            with contextlib.suppress(AlreadyExistsError):
                await self._writer.create(wanted)
        elif (changed := updated(found, wanted)) is not None:
            await self._writer.update(changed)


def heard_of(leases: Iterable[Object], now: datetime) -> frozenset[Advertised]:
    """Where the servers listen whose Leases are fresh. Pure."""
    found = set()
    for lease in leases:
        text = (lease["metadata"].get("annotations") or {}).get(ADVERTISED)
        if text and now - _renewed(lease) <= timedelta(seconds=SILENT_S_MAX):
            with contextlib.suppress(ValueError):
                found.add(Advertised.parse(text))
    return frozenset(found)


def ended(leases: Iterable[Object], now: datetime) -> list[str]:
    """Leases of servers that are long gone. Pure."""
    return [
        lease["metadata"]["name"]
        for lease in leases
        if (lease["metadata"].get("labels") or {}).get(IDENTITY_LABEL) == "kube-apiserver"
        and now - _renewed(lease) > timedelta(seconds=LEASE_S)
    ]


def service(service_range: str, port: int) -> Object:
    """The Service: it has the first address of the range."""
    address = str(ipaddress.ip_network(service_range)[1])
    labels = {"component": "apiserver", "provider": "kubernetes"}
    target = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}
    spec = {
        "type": "ClusterIP",
        "clusterIP": address,
        "ports": [target],
        "sessionAffinity": "None",
    }
    return {**_named(SERVICE, NAMESPACE, NAME, labels), "spec": spec}


def endpoints(listening: frozenset[Advertised]) -> Object:
    """The Endpoints; nobody mirrors them, as the slice is written here too."""
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    made = _named(ENDPOINTS, NAMESPACE, NAME, labels)
    if addresses := _addresses(listening):
        port = {"name": "https", "port": _port(listening), "protocol": "TCP"}
        made["subsets"] = [{"addresses": [{"ip": a} for a in addresses], "ports": [port]}]
    return made


def endpoint_slice(listening: frozenset[Advertised]) -> Object:
    """The EndpointSlice."""
    labels = {"kubernetes.io/service-name": NAME}
    made = _named(ENDPOINT_SLICE, NAMESPACE, NAME, labels)
    addresses = _addresses(listening)
    family = "IPv6" if any(":" in address for address in addresses) else "IPv4"
    port = {"name": "https", "port": _port(listening), "protocol": "TCP"}
    made["addressType"] = family
    made["endpoints"] = [{"addresses": [a], "conditions": {"ready": True}} for a in addresses]
    made["ports"] = [port] if addresses else []
    return made


def updated(found: Object, wanted: Object) -> Object | None:
    """The object with what is wanted of it; None where it is so. Pure."""
    changed = dict(found)
    for name, value in wanted.items():
        if name == "spec":  # of a Service only the ports may have changed
            changed["spec"] = {**found["spec"], "ports": value["ports"]}
        elif name not in ("metadata", "kind", "apiVersion"):
            changed[name] = value
    if "subsets" not in wanted:
        changed.pop("subsets", None)
    labels = {**(found["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
    changed["metadata"] = {**found["metadata"], "labels": labels}
    return None if changed == found else changed


def _port(listening: frozenset[Advertised]) -> int:
    """All servers have the same port, as upstream wants it; else those of the lowest are shown."""
    return min((each.port for each in listening), default=0)


def _addresses(listening: frozenset[Advertised]) -> list[str]:
    port = _port(listening)
    return sorted(each.address for each in listening if each.port == port)


def _named(gvk: GroupVersionKind, namespace: str, name: str, labels: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata}


def _renewed(lease: Object) -> datetime:
    return parse_time((lease.get("spec") or {}).get("renewTime") or "1970-01-01T00:00:00Z")


def _group(api_version: str) -> tuple[str, str]:
    group, _, version = api_version.rpartition("/")
    return group, version
