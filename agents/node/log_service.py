"""kubraft.v1.NodeAgent: the logs of this node's Pods, for the API server and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from agents.node.cri_client import RuntimeCallError
from agents.node.https_front import API_SERVER
from agents.node.log_lines import LineWriter
from agents.node.log_stream import stream_log
from agents.node.pod_view import ContainerView, PodView
from kubraft.api.object import Object, ObjectKey, uid_of
from kubraft.api.pods import all_containers
from kubraft.api.time import Clock
from kubraft.pb.v1 import node_pb2_grpc
from kubraft.pb.v1 import objects_pb2 as pb

# How often a followed log's container is asked whether it still runs.
_LOOK_S = 1.0
Context = grpc.aio.ServicerContext[Any, Any]


class LogError(Exception):
    """The request cannot be met; the message is for the user."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class NodeAgentService(node_pb2_grpc.NodeAgentServicer):
    """Paths come from the runtime, by Pod uid and container name: a request names no file."""

    def __init__(
        self,
        find_pod: Callable[[ObjectKey], Object | None],
        view: Callable[[str], Any],
        clock: Clock,
        logs: Path,
    ) -> None:
        """`view`: the runtime's picture of a Pod, by uid; `logs`: the directory of all logs."""
        self._find_pod = find_pod
        self._view = view
        self._clock = clock
        self._logs = logs.resolve()

    async def read(self, request: pb.LogsRequest) -> AsyncGenerator[bytes]:
        """The text of a container's log, in parts.

        Raises:
            LogError: there is no such log.
            RuntimeCallError: the runtime does not say where it is.
            OSError: the file cannot be read.
        """
        pod, life = await self._life(request)
        async for text in self._stream(request, pod, life):
            yield text

    async def Logs(  # noqa: N802
        self, request: pb.LogsRequest, context: Context
    ) -> AsyncIterator[pb.LogChunk]:
        try:
            _check_peer(context)
            async for text in self.read(request):
                yield pb.LogChunk(data=text)
        except LogError as error:
            await context.abort(error.code, str(error))
        except RuntimeCallError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except OSError as error:
            message = f"the log cannot be read: {error.strerror}"
            await context.abort(grpc.StatusCode.NOT_FOUND, message)

    async def _life(self, request: pb.LogsRequest) -> tuple[Object, ContainerView]:
        pod = self._find_pod(ObjectKey(request.namespace, request.pod))
        if pod is None:
            raise LogError(grpc.StatusCode.NOT_FOUND, f'pods "{request.pod}" not found')
        spec = pod["spec"]
        names = [container["name"] for container in all_containers(spec)]
        names += [container["name"] for container in spec.get("ephemeralContainers") or ()]
        name = request.container or (names[0] if len(names) == 1 else "")
        if name not in names:
            raise LogError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"container {request.container} is not valid for pod {request.pod}",
            )
        view: PodView = await self._view(uid_of(pod))
        life = view.previous(name) if request.previous else _newest_begun(view, name)
        if life is None or not life.log_path:
            raise LogError(grpc.StatusCode.INVALID_ARGUMENT, _absent(pod, request, name))
        return pod, life

    async def _stream(
        self, request: pb.LogsRequest, pod: Object, life: ContainerView
    ) -> AsyncIterator[bytes]:
        path = Path(life.log_path)
        if not _is_below(path, self._logs):
            raise LogError(grpc.StatusCode.INTERNAL, "the log lies outside of the log directory")
        since = ""
        if request.HasField("since_seconds"):
            moment = self._clock.now() - timedelta(seconds=request.since_seconds)
            since = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
        writer = LineWriter(
            timestamps=request.timestamps,
            since=since,
            limit_bytes=request.limit_bytes if request.HasField("limit_bytes") else None,
        )
        ending = _Ending(self._view, uid_of(pod), life.id, ended=life.exited)
        chunks = stream_log(
            path,
            writer,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            follow=request.follow,
            ended=lambda: ending.ended,
        )
        if not request.follow:
            async for text in chunks:
                yield text
            return
        async with ending:
            async for text in chunks:
                yield text


class _Ending:
    """Watches, while a log is followed, whether its container has ended."""

    def __init__(
        self, view: Callable[[str], Any], uid: str, container_id: str, *, ended: bool
    ) -> None:
        self._view = view
        self._uid = uid
        self._id = container_id
        self._task: asyncio.Task[None] | None = None
        self.ended = ended

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def __aexit__(self, *_error: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while not self.ended:
            await asyncio.sleep(_LOOK_S)
            try:
                view: PodView = await self._view(self._uid)
            except RuntimeCallError:
                continue  # it may be starting again, and says then what became of the container
            self.ended = not any(c.id == self._id and c.running for c in view.containers)


def _check_peer(context: Context) -> None:
    if not is_api_server(context.auth_context()):
        raise LogError(
            grpc.StatusCode.PERMISSION_DENIED, "only the API server may ask a node agent"
        )


def is_api_server(auth: Mapping[str, Any]) -> bool:
    """Whether the peer's certificate (already checked by TLS) is the API server's."""
    names = auth.get("x509_common_name") or ()
    return any(bytes(name).decode(errors="replace") == API_SERVER for name in names)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _newest_begun(view: PodView, name: str) -> ContainerView | None:
    for life in view.containers:
        if life.name == name and life.state != "created":
            return life
    return None


def _absent(pod: Object, request: pb.LogsRequest, name: str) -> str:
    metadata = pod["metadata"]
    if request.previous:
        return f'previous terminated container "{name}" in pod "{metadata["name"]}" not found'
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(kind) or ():
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if container["name"] == name and reason:
                return (
                    f'container "{name}" in pod "{metadata["name"]}" is waiting to start: {reason}'
                )
    return f'container "{name}" in pod "{metadata["name"]}" is not available'
