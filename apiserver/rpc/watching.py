"""A watch as a stream of WatchEvents; each event is encoded once for all its readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

import orjson

from apiserver.registry.call import Call
from apiserver.registry.registry import Registry, WatchQuery
from apiserver.registry.resource import Resource
from apiserver.registry.table import table
from apiserver.rpc import body, wire
from apiserver.storage.entry import EventType, WatchEvent
from kubraft.api.errors import ApiError
from kubraft.pb.v1 import objects_pb2 as pb


async def watch_answers(
    registry: Registry, call: Call, request: pb.WatchRequest, now: Callable[[], datetime]
) -> AsyncIterator[Any]:
    """The answers to a watch request.

    What ends a watch that has begun comes as an ERROR event; what forbids its beginning is raised.
    """
    query = WatchQuery(
        label_selector=request.label_selector,
        field_selector=request.field_selector,
        resource_version=request.resource_version,
        bookmarks=request.allow_bookmarks,
        initial_events=request.send_initial_events,
    )
    stream = registry.watch(call, query)
    loop = asyncio.get_running_loop()
    ends = loop.time() + request.timeout_seconds if request.timeout_seconds > 0 else None
    try:
        async with aclosing(stream):
            while True:
                async with asyncio.timeout_at(ends):
                    event = await anext(stream)
                yield _encoded(event, call.resource, request.encoding, now)
    except (TimeoutError, StopAsyncIteration):
        return
    except ApiError as error:
        yield _error(error, request.encoding)


def _encoded(
    event: WatchEvent, resource: Resource, encoding: int, now: Callable[[], datetime]
) -> Any:
    if encoding == pb.ENCODING_TABLE and event.entry is not None:
        rows = table(resource, [event.entry.decode()], now(), {})
        return wire.watch_event(event.type, orjson.dumps(rows), event.revision)
    form = "struct" if encoding == pb.ENCODING_STRUCT else "json"
    frame = event.frames.get(form)
    if frame is None:
        frame = event.frames[form] = _frame(event, resource, form)
    return frame


def _frame(event: WatchEvent, resource: Resource, form: str) -> bytes:
    raw = event.entry.raw if event.entry is not None else _bookmark(event, resource)
    if form == "json":
        return wire.watch_event(event.type, raw, event.revision, initial_end=event.initial_end)
    answer = pb.WatchEvent(
        type=wire.EVENT_TYPES[event.type],
        object=body.to_struct(orjson.loads(raw)),
        resource_version=str(event.revision),
        initial_events_end=event.initial_end,
    )
    return answer.SerializeToString()


def _bookmark(event: WatchEvent, resource: Resource) -> bytes:
    assert event.type is EventType.BOOKMARK
    metadata: dict[str, Any] = {"resourceVersion": str(event.revision)}
    if event.initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    gvk = resource.gvk
    return orjson.dumps({"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata})


def _error(error: ApiError, encoding: int) -> pb.WatchEvent:
    status = error.to_status()
    if encoding == pb.ENCODING_STRUCT:
        return pb.WatchEvent(type=pb.WatchEvent.ERROR, object=body.to_struct(status))
    return pb.WatchEvent(type=pb.WatchEvent.ERROR, json=orjson.dumps(status))
