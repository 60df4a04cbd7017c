"""Failures of the API, one class a reason, the same on the server and in clients.

Each error turns into a Kubernetes Status object and back. HTTP codes and reasons are those of
Kubernetes' meta/v1 Status; `GRPC_CODE` is how the gRPC front says the same.

Source: Kubernetes API conventions, "Response Status Kind"; meta/v1 StatusReason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong, as in Status.details.causes."""

    reason: str  # "FieldValueInvalid", "FieldValueRequired", ...
    message: str
    field: str  # path, "spec.containers[0].name"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def to_object(self) -> dict[str, str]:
        """As a StatusCause, without what is empty."""
        parts = {"reason": self.reason, "message": self.message, "field": self.field}
        return {name: value for name, value in parts.items() if value}


class ApiError(Exception):
    """A request failed for a reason that the client can act on."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"
    GRPC_CODE: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        group: str = "",
        kind: str = "",
        name: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: int = 0,
    ) -> None:
        """`kind` is the resource's plural for lookups and the kind for validation, as upstream."""
        super().__init__(message)
        self.message = message
        self.group = group
        self.kind = kind
        self.name = name
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s

    def to_status(self) -> dict[str, Any]:
        """The meta/v1 Status object of this failure."""
        details: dict[str, Any] = {}
        if self.name:
            details["name"] = self.name
        if self.group:
            details["group"] = self.group
        if self.kind:
            details["kind"] = self.kind
        if self.causes:
            details["causes"] = [c.to_object() for c in self.causes]
        if self.retry_after_s:
            details["retryAfterSeconds"] = self.retry_after_s
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        status["code"] = self.code
        if details:
            status["details"] = details
        return status


class BadRequestError(ApiError):
    """The request makes no sense, whatever the cluster's state."""

    code, reason, GRPC_CODE = 400, "BadRequest", "INVALID_ARGUMENT"


class UnauthorizedError(ApiError):
    """Who asks is not known."""

    code, reason, GRPC_CODE = 401, "Unauthorized", "UNAUTHENTICATED"


class ForbiddenError(ApiError):
    """Who asks may not do this, or an admission step refused it."""

    code, reason, GRPC_CODE = 403, "Forbidden", "PERMISSION_DENIED"


class NotFoundError(ApiError):
    """There is no such object or kind."""

    code, reason, GRPC_CODE = 404, "NotFound", "NOT_FOUND"


class MethodNotAllowedError(ApiError):
    """The kind does not have this verb."""

    code, reason, GRPC_CODE = 405, "MethodNotAllowed", "UNIMPLEMENTED"


class NotAcceptableError(ApiError):
    """The client takes no form of the answer that the server has."""

    code, reason, GRPC_CODE = 406, "NotAcceptable", "INVALID_ARGUMENT"


class AlreadyExistsError(ApiError):
    """Create found an object of that name."""

    code, reason, GRPC_CODE = 409, "AlreadyExists", "ALREADY_EXISTS"


class ConflictError(ApiError):
    """The object changed since the resourceVersion (or uid) that the request names."""

    code, reason, GRPC_CODE = 409, "Conflict", "ABORTED"


class ExpiredError(ApiError):
    """The resourceVersion or continue token is older than the history that is kept."""

    code, reason, GRPC_CODE = 410, "Expired", "OUT_OF_RANGE"

    def __init__(self, message: str, *, continue_token: str = "", **details: Any) -> None:
        """`continue_token` is where a list goes on that may do without consistency."""
        super().__init__(message, **details)
        self.continue_token = continue_token

    def to_status(self) -> dict[str, Any]:
        status = super().to_status()
        if self.continue_token:
            status["metadata"]["continue"] = self.continue_token
        return status


class TooLargeError(ApiError):
    """The request is over the size limit."""

    code, reason, GRPC_CODE = 413, "RequestEntityTooLarge", "RESOURCE_EXHAUSTED"


class UnsupportedMediaTypeError(ApiError):
    """The patch type or body format is not served."""

    code, reason, GRPC_CODE = 415, "UnsupportedMediaType", "INVALID_ARGUMENT"


class InvalidError(ApiError):
    """The object breaks the rules of its kind; `causes` names each field."""

    code, reason, GRPC_CODE = 422, "Invalid", "INVALID_ARGUMENT"


class TooManyRequestsError(ApiError):
    """The server asks the client to wait `retry_after_s`."""

    code, reason, GRPC_CODE = 429, "TooManyRequests", "RESOURCE_EXHAUSTED"


class UnexplainedError(ApiError):
    """A failure without a reason that clients could match on, as upstream's unnamed errors."""

    code, reason, GRPC_CODE = 500, "", "INTERNAL"


class InternalError(ApiError):
    """A defect of the server; the message holds no internals."""


class ServiceUnavailableError(ApiError):
    """The store, or the server itself, cannot answer now; the message says what is missing."""

    code, reason, GRPC_CODE = 503, "ServiceUnavailable", "UNAVAILABLE"


class TimeoutError_(ApiError):  # noqa: N801, N818 - the plain name is a builtin
    """No answer in time; whether a write happened is not known."""

    code, reason, GRPC_CODE = 504, "Timeout", "DEADLINE_EXCEEDED"


def _families(base: type[ApiError]) -> list[type[ApiError]]:
    return [base, *(c for sub in base.__subclasses__() for c in _families(sub))]


_BY_REASON = {cls.reason: cls for cls in reversed(_families(ApiError))}


def from_status(status: dict[str, Any]) -> ApiError:
    """Turn a Status object into the error that it stands for; unknown reasons become ApiError."""
    details = status.get("details") or {}
    cls = _BY_REASON.get(status.get("reason", ""), ApiError)
    return cls(
        status.get("message", "unknown error"),
        group=details.get("group", ""),
        kind=details.get("kind", ""),
        name=details.get("name", ""),
        causes=[
            Cause(c.get("reason", ""), c.get("message", ""), c.get("field", ""))
            for c in details.get("causes") or ()
        ],
        retry_after_s=details.get("retryAfterSeconds", 0),
    )
