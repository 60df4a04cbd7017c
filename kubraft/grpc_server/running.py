"""A call's handler, run from its first request to its status."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import grpc
import grpc.aio

from kubraft.grpc_server.call import Call
from kubraft.log import get_logger

log = get_logger("kubraft.grpc_server")


async def run(call: Call, message: bytes | None) -> None:
    """Run the handler; `message` is the request of a call that has one only."""
    handler = call.method.handler
    try:
        request: Any = message
        if message is None:
            request = call.requests()
        elif handler.request_deserializer:
            request = handler.request_deserializer(message)
        if handler.response_streaming:
            await _stream(call, request)
            call.end()
        else:
            behaviour = handler.stream_unary if message is None else handler.unary_unary
            call.reply(await behaviour(request, call))
    except grpc.aio.AbortError:
        pass  # `abort` has sent the status
    except asyncio.CancelledError:
        if not call.done_sent:
            call.end(grpc.StatusCode.CANCELLED)
    except Exception as error:  # noqa: BLE001  # any failure of a handler is the client's answer
        log.warning("handler failed", peer=call.peer(), cause=f"{type(error).__name__}: {error}")
        call.end(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")


async def _stream(call: Call, request: Any) -> None:
    handler = call.method.handler
    behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
    if inspect.isasyncgenfunction(behaviour):
        async for response in behaviour(request, call):
            await call.write(response)
    else:
        await behaviour(request, call)
