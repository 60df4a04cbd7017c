"""The gRPC edge: failures become status codes, here and nowhere else."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from agents.runtime.errors import RuntimeFailure
from kubraft.log import get_logger

log = get_logger("runtime.rpc")

_Service = TypeVar("_Service")
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
Context = grpc.aio.ServicerContext[Any, Any]
_Method = Callable[[_Service, _Request, Context], Awaitable[_Response]]


def method(
    function: _Method[_Service, _Request, _Response],
) -> _Method[_Service, _Request, _Response]:
    """Wrap a unary method: a failure is answered by its code and message."""

    @functools.wraps(function)
    async def call(service: _Service, request: _Request, context: Context) -> _Response:
        try:
            return await function(service, request, context)
        except RuntimeFailure as failure:
            await context.abort(failure.code, str(failure))
        except OSError as error:
            # The runtime's own files: a full disk, a directory taken away.
            message = f"{error.strerror or error}: {error.filename or function.__name__}"
            log.error(  # noqa: TRY400 - a full disk needs no traceback
                "operation failed", method=function.__name__, error=message
            )
            await context.abort(grpc.StatusCode.INTERNAL, message)
        raise AssertionError("abort does not return")

    return call
