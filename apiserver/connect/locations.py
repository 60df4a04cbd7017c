"""Where a connect request goes: a node's agent, a Pod, or one of those behind a Service.

Source: upstream's strategies of Pods, Nodes and Services (ResourceLocation, ExecLocation and
others): rules and texts.
"""

from __future__ import annotations

import ssl
from random import Random
from typing import Any, Final, NamedTuple

from apiserver.admission.webhook.address import ready_endpoints
from apiserver.connect.addresses import is_global_unicast, is_reachable, pod_address
from apiserver.connect.options import node_query
from apiserver.node_endpoint import node_endpoint
from apiserver.pod_container import container_of
from apiserver.reader import Reader
from apiserver.registry.call import Call
from apiserver.registry.registry import Registry
from kubraft.api.errors import (
    BadRequestError,
    NotFoundError,
    ServiceUnavailableError,
    UnexplainedError,
)
from kubraft.api.gvk import NODE, POD, SERVICE, GroupVersionKind
from kubraft.api.object import Object
from kubraft.streaming.dialing import Endpoint

_SCHEMES: Final = ("", "http", "https")
_PATHS: Final = {"exec": "exec", "attach": "attach", "portforward": "portForward"}


class Backend(NamedTuple):
    """Where to connect to; without `tls` in the clear."""

    endpoint: Endpoint
    tls: ssl.SSLContext | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


class Location(NamedTuple):
    """The other end, and what is asked of it: path without its query, decoded."""

    backend: Backend
    path: str = ""
    query: str = ""


class Locations:
    """Resolves requests by what the cluster says now."""

    def __init__(
        self, registry: Registry, reader: Reader, rng: Random, node_tls: ssl.SSLContext | None
    ) -> None:
        """`node_tls`: how node agents are asked; None where no certificate was given."""
        self._registry = registry
        self._reader = reader
        self._rng = rng
        self._node_tls = node_tls
        self._unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing to check against
        self._unchecked.check_hostname = False
        self._unchecked.verify_mode = ssl.CERT_NONE

    async def stream(self, call: Call, options: Object) -> Location:
        """The agent of a Pod's node, for exec, attach and portforward.

        Raises:
            BadRequestError: the Pod has no such container, or no node yet.
            NotFoundError: there is no such Pod, or its node is gone.
        """
        pod = await self._get(POD, call.namespace, call.name)
        place = f"{pod['metadata']['namespace']}/{call.name}"
        if call.subresource != "portforward":
            place += f"/{container_of(pod, str(options.get('container') or ''))}"
        name = pod["spec"].get("nodeName")
        if not name:
            raise BadRequestError(f"pod {call.name} does not have a host assigned")
        backend = await self._agent(name)
        return Location(backend, f"/{_PATHS[call.subresource]}/{place}", node_query(options))

    async def proxy(self, call: Call) -> Backend:
        """What stands behind `[scheme:]name[:port]`.

        Raises:
            BadRequestError: the name has another form, or leads where nobody may go.
            NotFoundError: there is nothing of that name.
            ServiceUnavailableError: a Service has nobody behind it.
        """
        kind = call.resource.gvk.kind.lower()
        parts = split_name(call.name)
        if parts is None:
            raise BadRequestError(f'invalid {kind} request "{call.name}"')
        if call.resource.gvk == NODE:
            return await self._node(*parts)
        if call.resource.gvk == POD:
            return await self._pod(call.namespace, *parts)
        return await self._service(call, *parts)

    async def _node(self, scheme: str, name: str, port: str) -> Backend:
        backend = await self._agent(name)
        if port in ("", str(backend.endpoint.port)):
            return backend
        if not is_global_unicast(backend.endpoint.host):
            raise BadRequestError("address not allowed")
        return self._backend(scheme, backend.endpoint.host, port)

    async def _pod(self, namespace: str, scheme: str, name: str, port: str) -> Backend:
        pod = await self._get(POD, namespace, name)
        if not port:
            port = next((str(p["containerPort"]) for p in _ports(pod)), "")
        elif not port.isdecimal():
            # Upstream has it looked up as the name of a service of the Internet.
            named = (p for p in _ports(pod) if p.get("name") == port)
            port = next((str(p["containerPort"]) for p in named), port)
        return self._backend(scheme, self._checked(pod), port)

    async def _service(self, call: Call, scheme: str, name: str, port: str) -> Backend:
        service = await self._get(SERVICE, call.namespace, name)
        row = _service_port(service, port, call.name)
        found = ready_endpoints(service, row, self._reader)
        while found:
            pod, number = found.pop(self._rng.randrange(len(found)))
            try:
                return self._backend(scheme, self._checked(pod), str(number))
            except BadRequestError:
                continue  # another may be somewhere else
        raise ServiceUnavailableError(f'no endpoints available for service "{call.name}"')

    def _checked(self, pod: Object) -> str:
        address = pod_address(pod)
        node = self._reader.get(NODE, "", str(pod["spec"].get("nodeName") or ""))
        if not is_reachable(address, node):
            raise BadRequestError("address not allowed")
        return address

    def _backend(self, scheme: str, host: str, port: str) -> Backend:
        tls = self._unchecked if scheme == "https" else None
        number = port or ("443" if tls else "80")
        if not number.isascii() or not number.isdecimal() or not 0 < int(number) < 1 << 16:
            raise ServiceUnavailableError(
                f"error trying to reach service: dial tcp: lookup tcp/{number}: unknown port"
            )
        return Backend(Endpoint(host, int(number)), tls)

    async def _agent(self, name: str) -> Backend:
        node = await self._get(NODE, "", name)
        endpoint = node_endpoint(node)
        if endpoint is None:
            raise UnexplainedError("no preferred addresses found; known addresses: []")
        if self._node_tls is None:
            raise ServiceUnavailableError(
                "node agents cannot be asked: the server has no --kubelet-client-certificate"
            )
        return Backend(endpoint, self._node_tls)

    async def _get(self, kind: GroupVersionKind, namespace: str, name: str) -> Object:
        resource = self._registry.resources[kind]
        key = resource.key(namespace, name)
        entry = await self._registry.machinery.reads.get(resource.prefix, key)
        if entry is None:
            shown = f'{resource.plural} "{name}" not found'
            raise NotFoundError(shown, kind=resource.plural, name=name)
        return entry.decode()


def split_name(text: str) -> tuple[str, str, str] | None:
    """Scheme, name and port of `[scheme:]name[:port]`; None where it is of another form."""
    parts = text.split(":")
    match parts:
        case [name]:
            scheme, port = "", ""
        case [name, port]:
            scheme = ""
        case [scheme, name, port]:
            pass
        case _:
            return None
    return (scheme, name, port) if name and scheme in _SCHEMES else None


def _ports(pod: Object) -> list[dict[str, Any]]:
    found = (p for c in pod["spec"].get("containers") or () for p in c.get("ports") or ())
    return [port for port in found if port.get("containerPort")]


def _service_port(service: Object, port: str, shown: str) -> dict[str, Any]:
    """The row of a Service's port, by number or by name; an unnamed one needs neither."""
    rows: list[dict[str, Any]] = (service.get("spec") or {}).get("ports") or []
    if port.isdecimal():
        for row in rows:
            if row.get("port") == int(port):
                return row
        name = service["metadata"]["name"]
        raise ServiceUnavailableError(f'no service port {port} found for service "{name}"')
    for row in rows:
        if (row.get("name") or "") == port:
            return row
    raise ServiceUnavailableError(f'no endpoints available for service "{shown}"')
