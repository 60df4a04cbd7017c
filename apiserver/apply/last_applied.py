"""The annotation of client-side apply, for objects that move to server-side apply.

kubectl's own manager may take the fields that its annotation says it had applied; afterwards the
annotation follows the configuration, so that older kubectl still finds its way.

Source: apimachinery managedfields (lastAppliedManager, lastAppliedUpdater).
"""

from __future__ import annotations

from typing import Any

import orjson

from apiserver.apply import fields as sets
from apiserver.apply.fields import LEAF, FieldSet
from apiserver.apply.types import Type
from apiserver.apply.validation import MistypedError, check
from apiserver.apply.walk import compare, fields_of
from kubraft.api.object import Object

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
ANNOTATIONS_BYTES_MAX = 256 * 1024


def still_applied(type_: Type, live: Object, api_version: str) -> FieldSet:
    """The fields that client-side apply set last, and that nobody changed since."""
    try:
        config: Any = orjson.loads(_annotations(live).get(ANNOTATION) or b"null")
    except ValueError:
        return LEAF
    if not isinstance(config, dict) or config.get("apiVersion") != api_version:
        return LEAF
    try:
        check(type_, config)
    except MistypedError:
        return LEAF
    changed = compare(type_, config, live)
    fields = fields_of(type_, config)
    for part in changed:
        fields = sets.difference(fields, part)
    return fields


def follow(obj: Object, config: Object) -> Object:
    """`obj` with the annotation made of `config`, where it has one. Changes neither."""
    if not _annotations(obj).get(ANNOTATION):
        return obj
    metadata = dict(config.get("metadata") or {})
    if metadata.get("annotations"):
        kept = {k: v for k, v in metadata["annotations"].items() if k != ANNOTATION}
        metadata["annotations"] = kept
    raw = orjson.dumps({**config, "metadata": metadata}, option=orjson.OPT_SORT_KEYS)
    annotations = {**_annotations(obj), ANNOTATION: raw.decode() + "\n"}
    if sum(len(str(k).encode()) + len(str(v).encode()) for k, v in annotations.items()) > (
        ANNOTATIONS_BYTES_MAX
    ):
        del annotations[ANNOTATION]
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _annotations(obj: Object) -> dict[str, Any]:
    return (obj.get("metadata") or {}).get("annotations") or {}
