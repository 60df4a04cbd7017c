"""The kinds of patches, each as a function from the stored object to the wanted one.

Source: RFC 7386 (merge), RFC 6902 (JSON patch); strategic_merge.py for Kubernetes' own.
"""

from __future__ import annotations

from typing import Any

import orjson

from apiserver.registry.strategic_merge import PatchSchema, strategic_merge
from apiserver.registry.update import Change
from kubraft.api.errors import BadRequestError, InvalidError, UnsupportedMediaTypeError
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
OPERATIONS_MAX = 10_000
# What the copies of a patch may come to: each could double the object.
COPIED_BYTES_MAX = 3 * 1024 * 1024


def change_of(
    patch_type: str, body: bytes | dict[str, Any] | list[Any], schema: PatchSchema | None = None
) -> Change:
    """The change that a patch describes; "" is a merge patch. Strategic ones need the `schema`.

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
    if patch_type == STRATEGIC and schema is not None:
        if not isinstance(content, dict):
            raise BadRequestError("a strategic merge patch must be a JSON object")
        return _strategic(content, schema)
    served = (JSON, MERGE) if schema is None else (JSON, MERGE, STRATEGIC)
    raise UnsupportedMediaTypeError(
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(served)}"
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


def _strategic(patch: dict[str, Any], schema: PatchSchema) -> Change:
    def change(obj: Object) -> Object:
        return _checked(strategic_merge(obj, patch, schema))

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
            if any(isinstance(each, dict) and each.get("op") == "copy" for each in operations):
                return _checked(_with_copies(obj, operations))
            return _checked(jsonpatch.apply_patch(obj, operations, in_place=True))
        except jsonpatch.InvalidJsonPatch as error:
            raise BadRequestError(f"error decoding patch: {error}") from error
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            # No more is said, as upstream: what the library says has parts of the object in it.
            raise InvalidError(
                "the server rejected our request due to an error in our request"
            ) from error

    return change


def _with_copies(obj: Any, operations: list[Any]) -> Any:
    """Apply operations one by one, and count what they copy."""
    import jsonpatch  # noqa: PLC0415 - see above
    from jsonpointer import resolve_pointer  # noqa: PLC0415

    copied = 0
    for operation in operations:
        if isinstance(operation, dict) and operation.get("op") == "copy":
            copied += len(orjson.dumps(resolve_pointer(obj, str(operation.get("from", "")))))
            if copied > COPIED_BYTES_MAX:
                raise BadRequestError(
                    f"the copies of a JSON patch may come to {COPIED_BYTES_MAX} bytes"
                )
        obj = jsonpatch.apply_patch(obj, [operation], in_place=True)
    return obj


def _checked(patched: Any) -> Object:
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise BadRequestError("the patch leaves no object with metadata")
    obj: Object = patched
    return obj
