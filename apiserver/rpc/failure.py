"""Errors on their way out: a gRPC code, the Kubernetes message, and the Status as a detail."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
import orjson
from google.protobuf import any_pb2
from google.rpc import status_pb2

from kubraft.api.errors import ApiError, InternalError
from kubraft.log import get_logger
from kubraft.pb.v1 import objects_pb2 as pb

# gRPC carries the message in a header: a longer one would break the answer.
MESSAGE_CHARS_MAX = 4096
_DETAILS_KEY = "grpc-status-details-bin"

_log = get_logger("apiserver.rpc")

Context = grpc.aio.ServicerContext[Any, Any]


def unary(
    handle: Callable[[Any, Context], Awaitable[Any]],
) -> Callable[[Any, Context], Awaitable[Any]]:
    """A handler whose errors reach the client as such."""

    @functools.wraps(handle)
    async def guarded(request: Any, context: Context) -> Any:
        try:
            return await handle(request, context)
        except ApiError as error:
            await refuse(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the client must get an answer, and no traceback
            await refuse(context, internal_error(handle.__name__))

    return guarded


def streaming(
    handle: Callable[[Any, Context], AsyncIterator[Any]],
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    """As `unary`, for a stream of answers."""

    @functools.wraps(handle)
    async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for answer in handle(request, context):
                yield answer
        except ApiError as error:
            await refuse(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception:  # noqa: BLE001 - as above
            await refuse(context, internal_error(handle.__name__))

    return guarded


def internal_error(what: str) -> InternalError:
    """Log the exception at hand; the client gets an id by which to find it."""
    request_id = uuid.uuid4().hex[:12]
    _log.exception("request_failed", method=what, request_id=request_id)
    return InternalError(f"internal error (request {request_id})")


async def refuse(context: Context, error: ApiError) -> NoReturn:
    """End the call with `error`."""
    code = grpc.StatusCode[error.GRPC_CODE]
    message = error.message[:MESSAGE_CHARS_MAX]
    detail = any_pb2.Any()
    detail.Pack(status_message(error))
    rich = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    await context.abort(code, message, ((_DETAILS_KEY, rich.SerializeToString()),))
    raise AssertionError("abort raises")


def status_message(error: ApiError) -> pb.Status:
    """The Status that goes with a failure."""
    status = error.to_status()
    status["message"] = status["message"][:MESSAGE_CHARS_MAX]
    causes = (status.get("details") or {}).get("causes")
    if causes:
        status["details"]["causes"] = causes[:16]
    return pb.Status(
        code=error.code,
        reason=error.reason,
        message=status["message"],
        json=orjson.dumps(status),
    )
