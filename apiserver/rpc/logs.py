"""Logs of Pods, passed on from their node agents; and the service kubraft.v1.Pods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from apiserver.node_endpoint import node_endpoint
from apiserver.pod_container import container_of
from apiserver.registry.call import Call
from apiserver.registry.registry import Registry
from apiserver.rpc import audited
from apiserver.rpc.caller import Authenticator, credentials_of
from apiserver.rpc.failure import Context
from apiserver.user import User
from kubraft.api.errors import (
    BadRequestError,
    InternalError,
    NotFoundError,
    ServiceUnavailableError,
)
from kubraft.api.gvk import NODE, POD
from kubraft.api.object import Object
from kubraft.pb.v1 import node_pb2_grpc
from kubraft.pb.v1 import objects_pb2 as pb


@dataclass(frozen=True, slots=True)
class NodeTls:
    """Files for calling node agents, PEM."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class PodsService:
    """Handlers of kubraft.v1.Pods."""

    def __init__(self, logs: PodLogs, authenticator: Authenticator) -> None:
        self._logs = logs
        self._authenticator = authenticator

    async def Logs(self, request: pb.LogsRequest, context: Context) -> AsyncIterator[Any]:  # noqa: N802
        user = await self._authenticator.authenticate(credentials_of(context))
        audited.note_user(user)
        audited.note_call(self._logs.call(user, request), "get")
        async for chunk in self._logs.read(user, request):
            yield chunk


class PodLogs:
    """Reads logs for both fronts. Keeps one connection a node agent."""

    def __init__(self, registry: Registry, tls: NodeTls | None) -> None:
        self._registry = registry
        self._tls = tls
        # By node, with the address that each leads to.
        self._channels: dict[str, tuple[str, grpc.aio.Channel]] = {}

    def call(self, user: User, request: pb.LogsRequest) -> Call:
        """What the registry knows of a request for a log."""
        resource = self._registry.resources[POD]
        return Call(user, resource, request.namespace or "default", request.pod, "log")

    async def read(self, user: User, request: pb.LogsRequest) -> AsyncGenerator[Any]:
        """The chunks of a log, which the node agent sends as it has them.

        Raises:
            ApiError: before the first chunk, or where the node agent breaks off.
        """
        call = self.call(user, request)
        self._registry.policy.check(call, "get")
        pod = await self._find(POD, call.namespace, call.name)
        if pod is None:
            raise NotFoundError(f'pods "{request.pod}" not found', kind="pods", name=request.pod)
        asked = pb.LogsRequest()
        asked.CopyFrom(request)
        asked.namespace = call.namespace
        asked.container = container_of(pod, request.container)
        channel = await self._node_channel(pod)
        stub = node_pb2_grpc.NodeAgentStub(channel)
        stream = stub.Logs(asked)
        try:
            async for chunk in stream:
                yield chunk
        except grpc.aio.AioRpcError as error:
            raise _node_error(error, pod["spec"]["nodeName"]) from error
        finally:
            stream.cancel()

    async def close(self) -> None:
        for name in list(self._channels):
            await self._disconnect(name)

    async def _find(self, gvk: Any, namespace: str, name: str) -> Object | None:
        resource = self._registry.resources[gvk]
        key = resource.key(namespace, name)
        entry = await self._registry.machinery.reads.get(resource.prefix, key)
        return entry.decode() if entry else None

    async def _node_channel(self, pod: Object) -> grpc.aio.Channel:
        name = pod["spec"].get("nodeName")
        if not name:
            raise BadRequestError(f"pod {pod['metadata']['name']} does not have a host assigned")
        node = await self._find(NODE, "", name)
        if node is None:
            await self._disconnect(name)
            raise NotFoundError(f'nodes "{name}" not found', kind="nodes", name=name)
        endpoint = node_endpoint(node)
        if endpoint is None:
            raise ServiceUnavailableError(f"node {name} has not said where its agent listens")
        target = str(endpoint)
        held = self._channels.get(name)
        if held is not None and held[0] == target:
            return held[1]
        channel = self._connect(target)
        self._channels[name] = (target, channel)
        if held is not None:
            await held[1].close(None)  # nobody is at the old address any more
        return channel

    async def _disconnect(self, name: str) -> None:
        if held := self._channels.pop(name, None):
            await held[1].close(None)

    def _connect(self, target: str) -> grpc.aio.Channel:
        if self._tls is None:
            raise ServiceUnavailableError(
                "logs cannot be had: the server has no --kubelet-client-certificate"
            )
        credentials = grpc.ssl_channel_credentials(
            self._tls.ca_file.read_bytes(),
            self._tls.key_file.read_bytes(),
            self._tls.cert_file.read_bytes(),
        )
        options = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
        return grpc.aio.secure_channel(target, credentials, options)


def _node_error(error: grpc.aio.AioRpcError, node: str) -> Exception:
    details = error.details() or str(error.code())
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(details)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION:
            return BadRequestError(details)
        case grpc.StatusCode.UNAVAILABLE:
            return ServiceUnavailableError(f"the agent of node {node} does not answer: {details}")
    return InternalError(f"the agent of node {node} failed: {details}")
