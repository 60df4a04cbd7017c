"""The kinds of patches, each as a function from the stored object to the wanted one.

Source: RFC 7386 (merge), RFC 6902 (JSON patch).
"""

from __future__ import annotations

from typing import Any

import orjson

from apiserver.registry.update import Change
from kubraft.api.errors import BadRequestError, InvalidError, UnsupportedMediaTypeError
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
OPERATIONS_MAX = 10_000


def change_of(patch_type: str, body: bytes | dict[str, Any]) -> Change:
    """The change that a patch describes; "" is a merge patch.

    Raises:
        UnsupportedMediaTypeError: there is no such type of patch.
        BadRequestError: the body is malformed.
    """
    content = _read(body) if isinstance(body, bytes) else body
    if patch_type in ("", MERGE):
        if not isinstance(content, dict):
            raise BadRequestError("a merge patch must be a JSON object")
        return _merge(content)
    if patch_type == JSON:
        if not isinstance(content, list):
            raise BadRequestError("a JSON patch must be a list of operations")
        return _json_patch(content)
    raise UnsupportedMediaTypeError(
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {MERGE}"
    )


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise BadRequestError(f"error decoding patch: {error}") from error


def _merge(patch: dict[str, Any]) -> Change:
    def change(obj: Object) -> Object:
        patched: Object = merge_patch(obj, patch)
        return _checked(patched)

    return change


def _json_patch(operations: list[Any]) -> Change:
    if len(operations) > OPERATIONS_MAX:
        raise BadRequestError(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, "
            f"got {len(operations)}"
        )

    def change(obj: Object) -> Object:
        import jsonpatch  # noqa: PLC0415 - rare, and slow to import

        try:
            return _checked(jsonpatch.apply_patch(obj, operations, in_place=True))
        except jsonpatch.InvalidJsonPatch as error:
            raise BadRequestError(f"error decoding patch: {error}") from error
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise InvalidError(
                f"the server rejected our request due to an error in our request: {error}"
            ) from error

    return change


def _checked(patched: Any) -> Object:
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise BadRequestError("the patch leaves no object with metadata")
    obj: Object = patched
    return obj
