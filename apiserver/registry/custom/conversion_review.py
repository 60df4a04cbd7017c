"""Questions to conversion webhooks, and what to make of the answers. Pure.

Source: Kubernetes documentation, "Versions in CustomResourceDefinitions", webhook conversion;
upstream's webhook converter (texts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from kubraft.api.object import Object

GROUP = "apiextensions.k8s.io"
SUPPORTED = ("v1", "v1beta1")
# Of metadata, a webhook may change these alone.
_OWN = ("labels", "annotations")


class ConversionError(ValueError):
    """An answer is of no use; the message says why."""


def question(
    objects: Sequence[Object], api_version: str, uid: str, versions: Sequence[str]
) -> bytes:
    """A ConversionReview that asks for `objects` in `api_version`.

    Raises:
        ConversionError: no version of the review is known to both sides.
    """
    version = next((each for each in versions if each in SUPPORTED), None)
    if version is None:
        raise ConversionError("no supported conversion review versions")
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
    return orjson.dumps(
        {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}
    )


def answer(raw: bytes, objects: Sequence[Object], api_version: str, uid: str) -> list[Object]:
    """The converted objects of a review, in the order of `objects`.

    Raises:
        ConversionError: the webhook refused, or broke the rules.
    """
    kind = f"{objects[0]['apiVersion']}, Kind={objects[0]['kind']}"
    try:
        review: Any = orjson.loads(raw)
    except ValueError as error:
        raise ConversionError(f"conversion webhook for {kind} failed: {error}") from error
    response = review.get("response") if isinstance(review, dict) else None
    if not isinstance(response, dict):
        raise ConversionError(f"conversion webhook for {kind} failed: no response provided")
    if response.get("uid") != uid:
        raise ConversionError(
            f'conversion webhook for {kind} failed: expected response.uid="{uid}", got '
            f'"{response.get("uid", "")}"'
        )
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        status = f"response.result.status was '{result.get('status', '')}', not 'Success'"
        raise ConversionError(f"conversion webhook for {kind} failed: "
                              f"{result.get('message') or status}")  # fmt: skip
    converted = response.get("convertedObjects")
    converted = converted if isinstance(converted, list) else []
    if len(converted) != len(objects):
        raise ConversionError(
            f"conversion webhook for {kind} returned {len(converted)} objects, expected "
            f"{len(objects)}"
        )
    return [
        _checked(made, before, api_version, kind, index)
        for index, (made, before) in enumerate(zip(converted, objects, strict=True))
    ]


def _checked(made: Any, before: Object, api_version: str, kind: str, index: int) -> Object:
    said = f"conversion webhook for {kind} returned invalid"
    if not isinstance(made, dict) or not isinstance(made.get("metadata"), dict):
        raise ConversionError(f"{said} metadata in object at index {index}: missing metadata in "
                              "converted object")  # fmt: skip
    said = f"{said} converted object at index {index}: invalid"
    for name, field, wanted in (
        ("groupVersion", "apiVersion", api_version),
        ("kind", "kind", before["kind"]),
    ):
        if made.get(field) != wanted:
            raise ConversionError(f"{said} {name} (expected {wanted}, received {made.get(field)})")
    after, metadata = made["metadata"], before["metadata"]
    for name in ("name", "namespace", "uid"):
        if after.get(name, "") != metadata.get(name, ""):
            shown = "UID" if name == "uid" else name
            raise ConversionError(
                f"conversion webhook for {kind} returned invalid object: must have the same "
                f"{shown}: {metadata.get(name, '')} != {after.get(name, '')}"
            )
    own: dict[str, Any] = {}
    for name in _OWN:
        texts = after.get(name) or {}
        if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
            raise ConversionError(
                f"conversion webhook for {kind} returned invalid metadata in object at index "
                f"{index}: invalid metadata.{name} in converted object"
            )
        if texts:
            own[name] = texts
    kept = {name: value for name, value in metadata.items() if name not in _OWN}
    return {**made, "metadata": {**kept, **own}}
