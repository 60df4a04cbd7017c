"""Counting the calls of streaming methods, and what their ends are called."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import grpc

from store.figures import CallTally
from store.rpc.caller import Context

# What the present call was aborted with.
_CODE: ContextVar[str] = ContextVar("code", default="Unknown")


def name_of(code: grpc.StatusCode) -> str:
    """As Go prints it: `OK`, `InvalidArgument`, and with one l `Canceled`."""
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "OK" if code is grpc.StatusCode.OK else code.name.title().replace("_", "")


def note(code: grpc.StatusCode) -> None:
    """The present call is about to be aborted."""
    _CODE.set(name_of(code))


def counted(handler: Any, tally: CallTally) -> Any:
    """The same handler of a method that streams its answers, with its calls counted."""
    inner = handler.stream_stream or handler.unary_stream

    async def call(request: Any, context: Context) -> None:
        tally.started += 1
        try:
            await inner(request, context)
        except asyncio.CancelledError:
            tally.end("Canceled")
            raise
        except BaseException:
            tally.end(_CODE.get())
            raise
        tally.end("OK")

    if handler.stream_stream:
        return grpc.stream_stream_rpc_method_handler(call)
    return grpc.unary_stream_rpc_method_handler(call)


def kind_of(handler: Any) -> str:
    """Source: go-grpc-prometheus, the label grpc_type."""
    return "bidi_stream" if handler.stream_stream else "server_stream"
