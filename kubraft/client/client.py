"""The API client that all agents and the command line use: the verbs of objects over gRPC.

Objects travel as JSON bytes. Failures are the classes of kubraft.api.errors. The connection heals
by itself; a call waits up to `connect_timeout_s` for it and then raises ServiceUnavailableError.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from copy import copy
from pathlib import Path
from typing import Any

import orjson

from kubraft.api.errors import BadRequestError, from_status
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, key_of, uid_of
from kubraft.client.answers import Kind, ObjectList, WatchEvent
from kubraft.client.channel import open_channel
from kubraft.client.transport import Fence, Transport
from kubraft.pb.v1 import objects_pb2 as pb
from kubraft.pb.v1 import objects_pb2_grpc as pb_grpc

__all__ = ["ApiClient", "Kind", "ObjectList", "WatchEvent"]

CONNECT_TIMEOUT_S = 5.0
# Longer than the API server takes to say that the store has no quorum.
CALL_TIMEOUT_S = 15.0

_Kinds = list[Kind]  # the class has a method named list
_EVENT_TYPES = {value: name for name, value in pb.WatchEvent.Type.items()}


class ApiClient:
    """Speaks to one API server address. Safe for any number of tasks of one event loop."""

    def __init__(
        self,
        server: str,
        *,
        ca_file: str | Path | None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        token: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        call_timeout_s: float = CALL_TIMEOUT_S,
        field_manager: str = "",
    ) -> None:
        """Opens nothing yet; `server` is "host:port", and no CA means no TLS.

        Raises:
            OSError: a file cannot be read.
            ValueError: the credentials do not go together.
        """
        self.server = server
        channel = open_channel(server, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        self._objects = pb_grpc.ObjectsStub(channel)
        self._pods = pb_grpc.PodsStub(channel)
        self._transport = Transport(
            channel,
            server,
            token=token,
            connect_timeout_s=connect_timeout_s,
            call_timeout_s=call_timeout_s,
        )
        self._field_manager = field_manager

    def fenced(self, fence: Fence) -> ApiClient:
        """A client on the same connection whose writes are sent only while `fence` allows.

        A lease holder writes through it, so that a process that was stopped and goes on after its
        lease ran out cannot act.
        """
        twin = copy(self)
        twin._transport = self._transport.fenced(fence)  # noqa: SLF001 - the same class
        return twin

    async def get(
        self, gvk: GroupVersionKind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Object:
        """The object as a quorum has it; raises NotFoundError."""
        request = pb.GetRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            name=name,
            subresource=subresource,
            encoding=pb.ENCODING_JSON,
        )
        return _object(await self._transport.read(self._objects.Get, request))

    async def list(
        self,
        gvk: GroupVersionKind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> ObjectList:
        """The objects of a kind; an empty namespace means all, `limit` 0 means one page of all."""
        request = pb.ListRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
            encoding=pb.ENCODING_JSON,
        )
        answer = await self._transport.read(self._objects.List, request)
        loads = orjson.loads
        items = [loads(item.json) for item in answer.items]
        return ObjectList(items, answer.resource_version, answer.continue_token)

    async def table(
        self,
        gvk: GroupVersionKind,
        namespace: str = "",
        *,
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> Object:
        """The objects as a meta.k8s.io/v1 Table, with the server's columns."""
        if name:
            only = f"metadata.name={name}"
            field_selector = f"{field_selector},{only}" if field_selector else only
        request = pb.ListRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            encoding=pb.ENCODING_TABLE,
        )
        answer = await self._transport.read(self._objects.List, request)
        table: Object = orjson.loads(answer.table)
        return table

    async def create(
        self,
        obj: Object,
        *,
        subresource: str = "",
        namespace: str = "",
        name: str = "",
        dry_run: bool = False,
        field_validation: str = "",
    ) -> Object:
        """Store a new object and return it as stored; raises AlreadyExistsError."""
        return await self._put(
            obj,
            subresource=subresource,
            namespace=namespace,
            name=name,
            dry_run=dry_run,
            field_validation=field_validation,
        )

    async def update(
        self,
        obj: Object,
        subresource: str = "",
        *,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> Object:
        """Replace exactly the version that `obj` came from; raises ConflictError, NotFoundError."""
        if not obj["metadata"].get("resourceVersion"):
            raise BadRequestError("metadata.resourceVersion: must be specified for an update")
        return await self._put(
            obj, subresource=subresource, dry_run=dry_run, field_validation=field_validation
        )

    async def patch(
        self,
        gvk: GroupVersionKind,
        name: str,
        merge: Mapping[str, Any],
        namespace: str = "",
        subresource: str = "",
        *,
        resource_version: str = "",
        dry_run: bool = False,
        field_validation: str = "",
    ) -> Object:
        """Apply a JSON merge patch and return the object as stored."""
        request = pb.PatchRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            name=name,
            subresource=subresource,
            json=orjson.dumps(merge),
            resource_version=resource_version,
            dry_run=dry_run,
            field_manager=self._field_manager,
            field_validation=field_validation,
            encoding=pb.ENCODING_JSON,
        )
        return _object(await self._transport.write(self._objects.Patch, request))

    async def delete(
        self,
        gvk: GroupVersionKind,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Delete the object, or begin to; returns its last state. Raises NotFoundError."""
        request = pb.DeleteRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            name=name,
            grace_period_seconds=grace_period_s,
            propagation_policy=propagation,
            uid=uid,
            resource_version=resource_version,
            dry_run=dry_run,
            encoding=pb.ENCODING_JSON,
        )
        return _object((await self._transport.write(self._objects.Delete, request)).object)

    async def watch(
        self,
        gvk: GroupVersionKind,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
        timeout_s: int = 0,
        as_table: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version` (empty: begins with what exists) until the server ends.

        With `as_table` each event's object is a Table of one row, as `table` returns it.

        Raises:
            ExpiredError: the history from there on is gone; list again.
        """
        request = pb.WatchRequest(
            api_version=gvk.api_version,
            kind=gvk.kind,
            namespace=namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            allow_bookmarks=True,
            send_initial_events=send_initial_events,
            timeout_seconds=timeout_s,
            encoding=pb.ENCODING_TABLE if as_table else pb.ENCODING_JSON,
        )
        async with aclosing(self._transport.stream(self._objects.Watch, request)) as events:
            async for event in events:
                obj = orjson.loads(event.json) if event.json else {}
                if event.type == pb.WatchEvent.ERROR:
                    raise from_status(obj)
                yield WatchEvent(
                    _EVENT_TYPES[event.type], obj, event.resource_version, event.initial_events_end
                )

    async def bind(self, pod: Object, node_name: str) -> None:
        """Give `pod` to a node; raises ConflictError where it has one or is another Pod by now."""
        key = key_of(pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node_name},
        }
        await self.create(binding, subresource="binding", name=key.name, namespace=key.namespace)

    async def create_token(
        self, service_account: str, namespace: str, token_request: Object
    ) -> Object:
        """Have a token made for a ServiceAccount; the answer's `status.token` is the secret."""
        return await self.create(
            token_request, subresource="token", name=service_account, namespace=namespace
        )

    async def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        timestamps: bool = False,
        tail_lines: int | None = None,
        since_s: int | None = None,
        limit_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """What a container wrote, in chunks; with `follow` until it ends."""
        request = pb.LogsRequest(
            namespace=namespace,
            pod=pod,
            container=container,
            follow=follow,
            previous=previous,
            timestamps=timestamps,
            tail_lines=tail_lines,
            since_seconds=since_s,
            limit_bytes=limit_bytes,
        )
        async with aclosing(self._transport.stream(self._pods.Logs, request)) as chunks:
            async for chunk in chunks:
                yield chunk.data

    async def kinds(self, *, remote: bool = False) -> _Kinds:
        """All kinds that the server has; with `remote` those of extension servers behind it, too.

        The objects of these can be listed and deleted through this client, and no more.
        """
        request = pb.KindsRequest(remote=remote)
        answer = await self._transport.read(self._objects.Kinds, request)
        return [
            Kind(
                GroupVersionKind(kind.group, kind.version, kind.kind),
                kind.plural,
                kind.singular,
                tuple(kind.short_names),
                tuple(kind.categories),
                kind.namespaced,
                tuple(kind.verbs),
                tuple(kind.subresources),
            )
            for kind in answer.kinds
        ]

    async def close(self) -> None:
        """End all calls and the connection."""
        await self._transport.close()

    async def _put(
        self,
        obj: Object,
        *,
        subresource: str,
        namespace: str = "",
        name: str = "",
        dry_run: bool,
        field_validation: str,
    ) -> Object:
        request = pb.PutRequest(
            json=orjson.dumps(obj),
            subresource=subresource,
            namespace=namespace,
            name=name,
            dry_run=dry_run,
            field_manager=self._field_manager,
            field_validation=field_validation,
            encoding=pb.ENCODING_JSON,
        )
        return _object(await self._transport.write(self._objects.Put, request))


def _object(answer: pb.Object) -> Object:
    obj: Object = orjson.loads(answer.json)
    return obj
