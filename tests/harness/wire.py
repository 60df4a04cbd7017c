"""The far end of the wire for tests of the client: the Objects service over a dictionary.

It knows nothing of kinds, validation or access; what it has is what the client's own behaviour
hangs on: revisions, history with compaction, watches that can be cut, errors with a Status.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import orjson
from google.protobuf import any_pb2
from google.rpc import status_pb2

from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ExpiredError,
    NotFoundError,
    ServiceUnavailableError,
)
from kubraft.api.labels import parse_selector
from kubraft.api.object import Object, labels_of
from kubraft.api.patch import merge_patch
from kubraft.pb.v1 import objects_pb2 as pb
from kubraft.pb.v1 import objects_pb2_grpc as pb_grpc

Key = tuple[str, str, str]  # kind, namespace, name


class Wire(pb_grpc.ObjectsServicer, pb_grpc.PodsServicer):
    """One server that can be stopped and started again on the same port."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.revision = 1
        self.compacted = 0
        self.history: list[tuple[int, pb.WatchEvent.Type.ValueType, Object]] = []
        self.changed = asyncio.Condition()
        self.calls: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.failures: list[ApiError] = []
        self.requests: list[Any] = []
        self.port = 0
        self._server: grpc.aio.Server | None = None
        self._watches: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_ObjectsServicer_to_server(self, server)
        pb_grpc.add_PodsServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(0)
            self._server = None

    def cut_watches(self) -> None:
        for task in self._watches:
            task.cancel()

    async def put(self, obj: Object) -> Object:
        """Write past all checks, as another client of the store."""
        stored = self._write(obj, pb.WatchEvent.ADDED)
        async with self.changed:
            self.changed.notify_all()
        return stored

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        self._delete((kind, namespace, name))
        async with self.changed:
            self.changed.notify_all()

    def compact(self) -> None:
        self.compacted = self.revision
        self.history.clear()

    async def Get(self, request: pb.GetRequest, context: Any) -> pb.Object:  # noqa: N802
        await self._enter("Get", request, context)
        obj = self.objects.get((request.kind, request.namespace, request.name))
        if obj is None:
            await fail(context, NotFoundError(f'{request.kind} "{request.name}" not found'))
        return pb.Object(json=orjson.dumps(obj))

    async def List(self, request: pb.ListRequest, context: Any) -> pb.ListResponse:  # noqa: N802
        await self._enter("List", request, context)
        selector = parse_selector(request.label_selector)
        items = [
            pb.Object(json=orjson.dumps(obj))
            for (kind, namespace, _), obj in self.objects.items()
            if kind == request.kind
            and request.namespace in ("", namespace)
            and selector.matches(labels_of(obj))
        ]
        return pb.ListResponse(items=items, resource_version=str(self.revision))

    async def Put(self, request: pb.PutRequest, context: Any) -> pb.Object:  # noqa: N802
        await self._enter("Put", request, context)
        obj = orjson.loads(request.json)
        metadata = obj["metadata"]
        key = (obj["kind"], metadata.get("namespace", ""), metadata["name"])
        old, version = self.objects.get(key), metadata.get("resourceVersion")
        if version is None and old is not None:
            await fail(context, AlreadyExistsError(f'"{key[2]}" already exists'))
        if version and (old is None or old["metadata"]["resourceVersion"] != version):
            await fail(context, ConflictError("the object has been modified"))
        stored = await self.put(obj)
        return pb.Object(json=orjson.dumps(stored))

    async def Patch(self, request: pb.PatchRequest, context: Any) -> pb.Object:  # noqa: N802
        await self._enter("Patch", request, context)
        old = self.objects.get((request.kind, request.namespace, request.name))
        if old is None:
            await fail(context, NotFoundError(f'"{request.name}" not found'))
        stored = await self.put(merge_patch(old, orjson.loads(request.json)))
        return pb.Object(json=orjson.dumps(stored))

    async def Delete(self, request: pb.DeleteRequest, context: Any) -> pb.DeleteResponse:  # noqa: N802
        await self._enter("Delete", request, context)
        obj = self.objects[(request.kind, request.namespace, request.name)]
        await self.remove(request.kind, request.namespace, request.name)
        return pb.DeleteResponse(object=pb.Object(json=orjson.dumps(obj)), gone=True)

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Any
    ) -> AsyncIterator[pb.WatchEvent]:
        await self._enter("Watch", request, context)
        task = asyncio.current_task()
        assert task
        self._watches.add(task)
        sent = int(request.resource_version or 0)
        try:
            while True:
                if sent < self.compacted:
                    error = ExpiredError("too old resource version")
                    yield pb.WatchEvent(
                        type=pb.WatchEvent.ERROR, json=orjson.dumps(error.to_status())
                    )
                    return
                for revision, type_, obj in [h for h in self.history if h[0] > sent]:
                    sent = revision
                    if obj["kind"] == request.kind:
                        yield pb.WatchEvent(
                            type=type_,
                            json=orjson.dumps(obj),
                            resource_version=str(revision),
                        )
                yield pb.WatchEvent(type=pb.WatchEvent.BOOKMARK, resource_version=str(sent))
                async with self.changed:
                    while self.revision <= sent:
                        await self.changed.wait()
        except asyncio.CancelledError:
            return
        finally:
            self._watches.discard(task)

    async def Kinds(self, request: pb.KindsRequest, context: Any) -> pb.KindsResponse:  # noqa: N802
        await self._enter("Kinds", request, context)
        pod = pb.Kind(version="v1", kind="Pod", plural="pods", short_names=["po"], namespaced=True)
        return pb.KindsResponse(kinds=[pod])

    async def Logs(self, request: pb.LogsRequest, context: Any) -> AsyncIterator[pb.LogChunk]:  # noqa: N802
        await self._enter("Logs", request, context)
        for data in (b"one\n", b"two\n"):
            yield pb.LogChunk(data=data)

    async def _enter(self, name: str, request: Any, context: Any) -> None:
        self.calls.append(name)
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.failures:
            await fail(context, self.failures.pop(0))

    def _write(self, obj: Object, type_: pb.WatchEvent.Type.ValueType) -> Object:
        self.revision += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision)}
        key = (obj["kind"], metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get(key)
        metadata.setdefault("uid", old["metadata"]["uid"] if old else f"uid-{self.revision}")
        stored = {**obj, "metadata": metadata}
        self.objects[key] = stored
        type_ = pb.WatchEvent.MODIFIED if old else type_
        self.history.append((self.revision, type_, stored))
        return stored

    def _delete(self, key: Key) -> None:
        self.revision += 1
        obj = self.objects.pop(key)
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision)}
        gone = {**obj, "metadata": metadata}
        self.history.append((self.revision, pb.WatchEvent.DELETED, gone))


async def fail(context: Any, error: ApiError) -> None:
    """End the call as the API server does: with a google.rpc.Status that carries ours."""
    code = getattr(grpc.StatusCode, error.GRPC_CODE)
    detail = any_pb2.Any()
    detail.Pack(
        pb.Status(
            code=error.code,
            reason=error.reason,
            message=error.message,
            json=orjson.dumps(error.to_status()),
        )
    )
    status = status_pb2.Status(code=code.value[0], message=error.message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, error.message)


def unavailable() -> ServiceUnavailableError:
    return ServiceUnavailableError("etcdserver: no leader: quorum lost, 1 of 3 members up")
