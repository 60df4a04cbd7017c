"""The kubelet's /containerLogs/NAMESPACE/POD/CONTAINER."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import grpc

from agents.node.cri_client import RuntimeCallError
from agents.node.https_front import Asked, RefusedError, Route
from agents.node.log_service import LogError
from kubraft.api.time import Clock, parse_time
from kubraft.pb.v1 import objects_pb2 as pb

_KIND: Final = ("content-type", "text/plain")
_INT64_MAX: Final = 2**63 - 1
Read = Callable[[pb.LogsRequest], AsyncGenerator[bytes]]


def log_route(read: Read, clock: Clock) -> Route:
    """`read`: the text of a log, in parts."""

    async def answer(asked: Asked) -> None:
        if len(asked.words) != 3:
            raise RefusedError(404, "404 page not found")
        async with aclosing(read(_request(asked, clock))) as parts:
            try:
                await _pass_on(asked, parts)
            except LogError as error:
                status = 404 if error.code == grpc.StatusCode.NOT_FOUND else 400
                raise RefusedError(status, str(error)) from error
            except RuntimeCallError as error:
                raise RefusedError(400, str(error)) from error
            except FileNotFoundError as error:
                raise RefusedError(400, f"the log cannot be read: {error.strerror}") from error

    return Route(answer)


async def _pass_on(asked: Asked, parts: AsyncGenerator[bytes]) -> None:
    """Answer once there is something, or nothing for certain: until then it may be an error."""
    first = await anext(parts, b"")
    asked.exchange.start(200, (_KIND,))
    await asked.exchange.write(first)
    async for part in parts:
        await asked.exchange.write(part)
    asked.exchange.finish()


def _request(asked: Asked, clock: Clock) -> pb.LogsRequest:
    namespace, pod, container = asked.words
    request = pb.LogsRequest(
        namespace=namespace,
        pod=pod,
        container=container,
        follow=_flag(asked, "follow"),
        previous=_flag(asked, "previous"),
        timestamps=_flag(asked, "timestamps"),
        tail_lines=_number(asked, "tailLines"),
        since_seconds=_number(asked, "sinceSeconds"),
        limit_bytes=_number(asked, "limitBytes"),
    )
    if since := asked.first("sinceTime"):
        try:
            age: timedelta = clock.now() - parse_time(since)
        except ValueError as error:
            raise RefusedError(400, "Unable to decode query.") from error
        request.since_seconds = max(0, round(age.total_seconds()))
    return request


def _flag(asked: Asked, name: str) -> bool:
    return asked.first(name).lower() in ("1", "t", "true")


def _number(asked: Asked, name: str) -> int | None:
    text = asked.first(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _INT64_MAX:
        raise RefusedError(400, "Unable to decode query.")
    return int(text)
