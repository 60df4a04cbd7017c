"""A watch as lines of JSON; each event is encoded once for all its readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

import orjson

from apiserver.registry.resource import Resource
from apiserver.rest import answer
from apiserver.rest.media import JSON, Form, View
from apiserver.storage.entry import EventType, WatchEvent
from kubraft.api.errors import ApiError, ServiceUnavailableError
from kubraft.grpc_server.exchange import Exchange


class Lines:
    """Events of one watch in the form that its client wants."""

    def __init__(
        self, resource: Resource, form: Form, now: Callable[[], datetime], include: str
    ) -> None:
        self._resource = resource
        self._form = form
        self._now = now
        self._include = include
        self._told_columns = False

    def line(self, event: WatchEvent) -> bytes:
        """One event."""
        if self._form.view is View.OBJECT:
            frame = event.frames.get("line")
            if frame is None:
                frame = event.frames["line"] = _line(event, self._raw(event))
            return frame
        if self._form.view is View.TABLE:
            return _line(event, self._table(event))
        return _line(event, answer.metadata_of(self._raw(event), self._form))

    def _raw(self, event: WatchEvent) -> bytes:
        return event.entry.raw if event.entry is not None else _bookmark(event, self._resource)

    def _table(self, event: WatchEvent) -> bytes:
        if event.entry is None:
            obj: dict[str, Any] = orjson.loads(self._raw(event))
            metadata = {**obj["metadata"], "creationTimestamp": None}
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }
            cells = [""] * len(self._resource.columns.definitions)
            shown = answer.rows(self._resource, [], self._form, self._now(), self._include)
            shown["rows"] = [{"cells": cells, "object": partial}]
        else:
            objects = [event.entry.decode()]
            shown = answer.rows(self._resource, objects, self._form, self._now(), self._include)
        shown["metadata"] = {"resourceVersion": str(event.revision)}
        if self._told_columns:
            shown["columnDefinitions"] = None  # said once a stream, as upstream
        self._told_columns = True
        return orjson.dumps(shown)


async def send(
    exchange: Exchange,
    stream: AsyncGenerator[WatchEvent],
    lines: Lines,
    *,
    timeout_s: float,
) -> None:
    """Send the events of `stream` until it ends, the client goes, or the time is over.

    What ends a watch that has begun comes as an ERROR event, but for a store or server that goes
    away: then the stream ends, and the client resumes elsewhere.
    """
    exchange.start(200, (("content-type", JSON), *answer.COMMON))
    ends = asyncio.get_running_loop().time() + timeout_s
    try:
        async with aclosing(stream):
            while True:
                async with asyncio.timeout_at(ends):
                    event = await anext(stream)
                await exchange.write(lines.line(event))
    except (TimeoutError, StopAsyncIteration, ServiceUnavailableError):
        pass
    except ApiError as error:
        status = orjson.dumps(error.to_status())
        await exchange.write(b'{"type":"ERROR","object":%b}\n' % status)
    exchange.finish()


def _line(event: WatchEvent, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (event.type.value.encode(), raw)


def _bookmark(event: WatchEvent, resource: Resource) -> bytes:
    assert event.type is EventType.BOOKMARK
    metadata: dict[str, Any] = {
        "resourceVersion": str(event.revision),
        "creationTimestamp": None,
    }
    if event.initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    gvk = resource.gvk
    return orjson.dumps({"kind": gvk.kind, "apiVersion": gvk.api_version, "metadata": metadata})
