"""Pod templates: when two are the same, and the hash that names a ReplicaSet after one.

Source: Kubernetes documentation, "Deployments, Pod-template-hash label".
"""

from __future__ import annotations

import copy
import struct
from typing import Any

import orjson

from kubraft.api.names import safe_encode

HASH_LABEL = "pod-template-hash"
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193
# Maps of which an absent and an empty one mean the same.
_PLAIN_MAPS = {"labels", "annotations", "nodeSelector", "requests", "limits", "overhead"}


def template_hash(template: dict[str, Any], collision_count: int | None) -> str:
    """The value of the hash label: the same for the same template and count, on every machine."""
    data = orjson.dumps(_normal(template), option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        data += struct.pack("<q", collision_count)
    return safe_encode(str(_fnv1a_32(data)))


def same_template(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether both make the same Pods; the hash label is not looked at."""
    return bool(_without_hash(_normal(left)) == _without_hash(_normal(right)))


def labelled(template: dict[str, Any], hash_: str) -> dict[str, Any]:
    """A copy of `template` whose Pods carry the hash label."""
    result = copy.deepcopy(template)
    metadata = result.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: hash_}
    return result


def _fnv1a_32(data: bytes) -> int:
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def _normal(value: Any) -> Any:
    """`value` without what means nothing: nulls, empty lists, empty plain maps."""
    if isinstance(value, list):
        return [_normal(v) for v in value]
    if not isinstance(value, dict):
        return value
    result = {name: _normal(part) for name, part in value.items()}
    return {
        name: part
        for name, part in result.items()
        if part is not None and part != [] and not (part == {} and name in _PLAIN_MAPS)
    }


def _without_hash(template: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.pop("labels", None) or {}).items() if k != HASH_LABEL}
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}
