"""The Objects service with bindings, for tests of what happens when their answers are lost."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import orjson

from kubraft.api.errors import ConflictError, NotFoundError
from kubraft.api.object import Object
from kubraft.api.pods import node_of
from kubraft.pb.v1 import objects_pb2 as pb
from tests.harness.wire import Wire, fail


class BindingWire(Wire):
    """Knows bindings as well; may lose the answer to one, before or after it took effect."""

    def __init__(self) -> None:
        super().__init__()
        self.lose_after = 0
        self.lose_before = 0
        # What happens just before the binding of the Pod of that name.
        self.before_binding: dict[str, Callable[[], Awaitable[object]]] = {}

    async def Put(self, request: pb.PutRequest, context: Any) -> pb.Object:  # noqa: N802
        if request.subresource != "binding":
            return await super().Put(request, context)
        if happens := self.before_binding.pop(request.name, None):
            await happens()
        if self.lose_before:
            self.lose_before -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        bound = self.objects.get(("Pod", request.namespace, request.name))
        if bound is None:
            await fail(context, NotFoundError(f'pods "{request.name}" not found'))
            raise AssertionError
        if node_of(bound):
            await fail(context, ConflictError(f"pod {request.name} is already assigned to a node"))
        name = orjson.loads(request.json)["target"]["name"]
        await self.put({**bound, "spec": {**bound["spec"], "nodeName": name}})
        if self.lose_after:
            self.lose_after -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        return pb.Object(json=request.json)

    def pod(self, name: str) -> Object:
        return self.objects[("Pod", "default", name)]

    def node_of(self, name: str) -> str:
        return node_of(self.pod(name))

    def events(self, reason: str) -> list[str]:
        return [
            obj["message"]
            for (kind, _, _), obj in self.objects.items()
            if kind == "Event" and obj["reason"] == reason
        ]
