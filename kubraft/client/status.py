"""Failures of calls, from gRPC to the errors of kubraft.api.errors: the client's edge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import grpc
import grpc.aio
import orjson

from kubraft.api import errors

_DETAILS_KEY = "grpc-status-details-bin"

# For failures that carry no Status of ours: those of the connection, or of a proxy between.
_BY_CODE: dict[grpc.StatusCode, type[errors.ApiError]] = {
    grpc.StatusCode.CANCELLED: errors.ServiceUnavailableError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.BadRequestError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TimeoutError_,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: errors.ForbiddenError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthorizedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooManyRequestsError,
    grpc.StatusCode.ABORTED: errors.ConflictError,
    grpc.StatusCode.OUT_OF_RANGE: errors.ExpiredError,
    grpc.StatusCode.UNIMPLEMENTED: errors.MethodNotAllowedError,
    grpc.StatusCode.UNAVAILABLE: errors.ServiceUnavailableError,
}


def error_of_call(call: grpc.aio.AioRpcError, server: str) -> errors.ApiError:
    """What a failed call means; a lost connection becomes ServiceUnavailableError."""
    if status := _status_of(call):
        return errors.from_status(status)
    code, text = call.code(), call.details() or ""
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and _is_cut(text):
        code = grpc.StatusCode.UNAVAILABLE
    kind = _BY_CODE.get(code, errors.InternalError)
    if kind is errors.ServiceUnavailableError:
        return kind(f"the API server at {server} does not answer: {_cause(text)}")
    if kind is errors.TimeoutError_:
        return kind(f"the API server at {server} did not answer in time")
    return kind(text or code.name)


def _status_of(call: grpc.aio.AioRpcError) -> dict[str, object] | None:
    """The meta/v1 Status that the server sent with its failure."""
    metadata = cast("Iterable[tuple[str, bytes]]", call.trailing_metadata() or ())
    for key, value in metadata:
        if key == _DETAILS_KEY:
            # Only failures need these modules.
            from google.rpc import status_pb2  # noqa: PLC0415

            from kubraft.pb.v1 import objects_pb2  # noqa: PLC0415

            detail = objects_pb2.Status()
            for packed in status_pb2.Status.FromString(value).details:
                if packed.Unpack(detail):
                    return _read_status(detail.json, detail.code, detail.reason, detail.message)
    return None


def _read_status(json: bytes, code: int, reason: str, message: str) -> dict[str, object]:
    if json:
        found: dict[str, object] = orjson.loads(json)
        return found
    return {"code": code, "reason": reason, "message": message}


def _is_cut(text: str) -> bool:
    """Whether the transport broke under the call, which gRPC reports in several ways."""
    return "RST_STREAM" in text or "Stream removed" in text or "GOAWAY" in text


def _cause(text: str) -> str:
    """The part of gRPC's message that tells a person why."""
    for sign in ("last error: ", "UNKNOWN:", "UNAVAILABLE:"):
        text = text.rpartition(sign)[2].strip()
    return text or "connection lost"
