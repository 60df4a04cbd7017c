"""AdmissionReview: what a webhook is asked, and what its answer must look like. Pure.

Source: admission.k8s.io/v1; upstream's webhook/request and webhook/errors (messages).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from apiserver.admission.matching import namespace_of
from apiserver.admission.request import AdmissionRequest
from apiserver.user import user_info
from kubraft.api.errors import ApiError, BadRequestError, from_status

V1: Final = "admission.k8s.io/v1"
V1_BETA: Final = "admission.k8s.io/v1beta1"
_VERSIONS: Final = {"v1": V1, "v1beta1": V1_BETA}
WARNINGS_MAX: Final = 64


class InvalidResponseError(ValueError):
    """An answer that is no answer; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a webhook said. `patch` is the list of a JSON patch."""

    allowed: bool
    patch: list[Any] = field(default_factory=list)
    result: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def review_version(versions: tuple[str, ...]) -> str:
    """The first version that a webhook takes and we send.

    Raises:
        InvalidResponseError: it takes none.
    """
    for version in versions:
        if version in _VERSIONS:
            return _VERSIONS[version]
    raise InvalidResponseError(
        "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
    )


def review_of(uid: str, api_version: str, request: AdmissionRequest) -> bytes:
    """The body that a webhook is sent."""
    asked = {"uid": uid, **attributes_of(request)}
    asked["object"], asked["oldObject"] = request.obj, request.old
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": api_version, "request": asked})


def attributes_of(request: AdmissionRequest) -> dict[str, Any]:
    """An AdmissionRequest without its uid and objects; `request` in CEL is the same."""
    gvk, served = request.gvk, request.served_kind
    kind = {"group": gvk.group, "version": gvk.version, "kind": gvk.kind}
    resource = {"group": served.group, "version": served.version, "resource": request.resource}
    asked = request.original or request
    named = {"group": asked.gvk.group, "version": asked.gvk.version, "kind": asked.gvk.kind}
    served = asked.served_kind
    by_url = {"group": served.group, "version": served.version, "resource": asked.resource}
    made: dict[str, Any] = {
        "kind": kind,
        "resource": resource,
        "requestKind": named,
        "requestResource": by_url,
        "operation": str(request.operation),
        "userInfo": user_info(request.user),
        "dryRun": request.dry_run,
        "options": dict(request.options) or None,
    }
    if request.subresource:
        made["subResource"] = made["requestSubResource"] = request.subresource
    if request.name:
        made["name"] = request.name
    if namespace := namespace_of(request):
        made["namespace"] = namespace
    return made


def read_response(body: bytes, uid: str, api_version: str, *, mutating: bool) -> Response:
    """What a webhook answered.

    Raises:
        InvalidResponseError: it is no answer to this question.
    """
    review = _object(body)
    response = review.get("response")
    if not isinstance(response, dict):
        raise InvalidResponseError("webhook response was absent")
    if api_version == V1:
        if response.get("uid") != uid:
            got = str(response.get("uid") or "")[:64]
            raise InvalidResponseError(f'expected response.uid="{uid}", got "{got}"')
        if (review.get("apiVersion"), review.get("kind")) != (V1, "AdmissionReview"):
            got = f"{review.get('apiVersion') or ''}, Kind={review.get('kind') or ''}"[:128]
            raise InvalidResponseError(
                f"expected webhook response of {V1}, Kind=AdmissionReview, got {got}"
            )
    allowed, result = response.get("allowed", False), response.get("status")
    if not isinstance(allowed, bool) or not isinstance(result, (dict, type(None))):
        raise InvalidResponseError("response.allowed or response.status has the wrong type")
    return Response(
        allowed,
        _patch(response, mutating=mutating, strict=api_version == V1),
        result,
        _texts(response.get("warnings")),
        _annotations(response.get("auditAnnotations")),
    )


def denial(name: str, result: Mapping[str, Any] | None) -> ApiError:
    """What the client is told where the webhook `name` says no."""
    status = dict(result or {})
    code = status.get("code")
    status["code"] = code if isinstance(code, int) and 400 <= code < 600 else 400
    denied = f'admission webhook "{name}" denied the request'
    message, reason = status.get("message"), status.get("reason")
    if isinstance(message, str) and message:
        status["message"] = f"{denied}: {message}"
    elif isinstance(reason, str) and reason:
        status["message"] = f"{denied}: {reason}"
    else:
        status["message"] = f"{denied} without explanation"
    return DeniedError(status)


def unsupported_dry_run(name: str) -> ApiError:
    """A webhook with side effects is not asked on a dry run."""
    return BadRequestError(f'admission webhook "{name}" does not support dry run')


class DeniedError(ApiError):
    """A refusal with a code and a reason of the webhook's own choice."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        details = status.get("details")
        known = from_status({**status, "details": details if isinstance(details, dict) else {}})
        super().__init__(
            known.message,
            group=known.group,
            kind=known.kind,
            name=known.name,
            causes=known.causes,
            retry_after_s=known.retry_after_s,
        )
        reason = status.get("reason")
        # Instances differ where other errors differ by class.
        self.code = int(status["code"])  # type: ignore[misc]
        self.reason = reason if isinstance(reason, str) else ""  # type: ignore[misc]
        self.GRPC_CODE = "PERMISSION_DENIED"  # type: ignore[misc]


def _object(body: bytes) -> dict[str, Any]:
    try:
        review = orjson.loads(body)
    except ValueError as error:
        raise InvalidResponseError(f"couldn't decode the answer: {error}"[:256]) from error
    if not isinstance(review, dict):
        raise InvalidResponseError("the answer is no AdmissionReview")
    return review


def _patch(response: Mapping[str, Any], *, mutating: bool, strict: bool) -> list[Any]:
    """The operations of response.patch."""
    encoded, kind = response.get("patch") or "", response.get("patchType")
    if not mutating:
        if encoded:
            raise InvalidResponseError("validating webhook may not return response.patch")
        if kind is not None:
            raise InvalidResponseError("validating webhook may not return response.patchType")
        return []
    if strict and encoded and kind is None:
        raise InvalidResponseError("webhook returned response.patch but not response.patchType")
    if strict and not encoded and kind is not None:
        raise InvalidResponseError("webhook returned response.patchType but not response.patch")
    if not encoded:
        return []
    if strict and kind != "JSONPatch":
        raise InvalidResponseError(f'webhook returned invalid response.patchType of "{kind!s:.64}"')
    try:
        patch = orjson.loads(base64.b64decode(encoded, validate=True))
    except (TypeError, ValueError, binascii.Error) as error:
        raise UndecodablePatchError(str(error)[:256]) from error
    if patch is None:
        return []
    if not isinstance(patch, list):
        raise UndecodablePatchError("a JSON patch must be a list of operations")
    return patch


class UndecodablePatchError(InvalidResponseError):
    """The patch of an answer is no JSON patch."""


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else []
    return tuple(item for item in items[:WARNINGS_MAX] if isinstance(item, str))


def _annotations(value: Any) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {str(k): v for k, v in list(items)[:WARNINGS_MAX] if isinstance(v, str)}
