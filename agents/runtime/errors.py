"""Failures of the runtime, each with the gRPC code and words that containerd uses for it."""

from __future__ import annotations

from typing import ClassVar

import grpc


class RuntimeFailure(Exception):  # noqa: N818 - RuntimeError is a builtin
    """An operation failed; the message is for the node agent and its user."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN


class NotFoundFailure(RuntimeFailure):
    """There is no such sandbox, container or image."""

    code = grpc.StatusCode.NOT_FOUND


class InvalidFailure(RuntimeFailure):
    """The request lacks something or contradicts itself."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class PreconditionFailure(RuntimeFailure):
    """Not in this state, or not on this machine."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class AlreadyExistsFailure(RuntimeFailure):
    """The name is in use."""

    code = grpc.StatusCode.ALREADY_EXISTS


class DeadlineFailure(RuntimeFailure):
    """It took longer than the request allows."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class ExhaustedFailure(RuntimeFailure):
    """Something that is bounded is used up."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
