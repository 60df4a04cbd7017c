"""What `apply` changes on what is live, by the manifest of last time and that of now.

    last applied    what the manifest said last time, kept in an annotation
    wanted          what it says now
    live            what the server has: defaults, status, and what others have set

What the manifest says is set; what it said last time and says no more is removed; the rest of the
live object is not touched. Lists whose elements have a name of their own (containers, ports,
volumes, ...) are merged element by element, other lists are replaced.

Source: Kubernetes documentation, "Declarative Management of Kubernetes Objects Using
Configuration Files" (how apply calculates differences); patch merge keys of the API types.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, Final

from kubraft.api.object import Object, annotations_of
from kubraft.api.patch import diff_merge_patch

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# By the field's name, the keys that tell elements apart; the first that all elements have counts.
_MERGE_KEYS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "imagePullSecrets": (("name",),),
    "secrets": (("name",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ports": (
        ("containerPort", "protocol"),
        ("containerPort",),
        ("port", "protocol"),
        ("port",),
    ),
    "conditions": (("type",),),
    "ownerReferences": (("uid",),),
}
# Lists of plain texts that several writers share.
_SETS: Final = frozenset({"finalizers"})
# Server-given defaults of key fields, so that an element is found that leaves them out.
_KEY_DEFAULTS: Final = {"protocol": "TCP"}

_ABSENT: Final = object()


def last_applied_of(live: Object) -> Object | None:
    """The manifest of last time, or None where there is none (or it is not readable)."""
    text = annotations_of(live).get(LAST_APPLIED)
    if text is None:
        return None
    try:
        manifest = json.loads(text)
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) else None


def with_last_applied(manifest: Object) -> Object:
    """The manifest as it is sent: with itself as annotation, without what only servers write."""
    wanted = copy.deepcopy(manifest)
    wanted.pop("status", None)
    metadata = wanted["metadata"]
    for field in ("creationTimestamp", "resourceVersion", "uid", "managedFields", "selfLink"):
        metadata.pop(field, None)
    annotations = {k: v for k, v in annotations_of(wanted).items() if k != LAST_APPLIED}
    metadata["annotations"] = annotations
    text = json.dumps(wanted, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    metadata["annotations"] = {**annotations, LAST_APPLIED: text}
    return wanted


def apply_patch(last: Object | None, wanted: Object, live: Object) -> dict[str, Any]:
    """The JSON merge patch that applies `wanted` (see `with_last_applied`) to `live`.

    Empty where nothing but the spelling of the annotation would change.
    """
    merged = _merged_dict(last or {}, wanted, live)
    patch = diff_merge_patch(live, merged)
    for field in ("apiVersion", "kind", "status"):
        patch.pop(field, None)
    if patch == {"metadata": {"annotations": {LAST_APPLIED: annotations_of(wanted)[LAST_APPLIED]}}}:
        return {} if last == last_applied_of(wanted) else patch
    return patch


def _merged(last: Any, wanted: Any, live: Any, field: str) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _merged_dict(last if isinstance(last, dict) else {}, wanted, live)
    if isinstance(wanted, list) and isinstance(live, list):
        return _merged_list(last if isinstance(last, list) else [], wanted, live, field)
    if isinstance(wanted, dict):
        return _without_nulls(wanted)
    return wanted


def _merged_dict(
    last: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any]
) -> dict[str, Any]:
    merged = dict(live)
    for field in last:
        if field not in wanted:
            merged.pop(field, None)
    for field, value in wanted.items():
        if value is None:
            merged.pop(field, None)
        elif field not in live and value in ({}, []):
            continue  # servers leave empty fields out; asking for them again changes nothing
        else:
            merged[field] = _merged(last.get(field), value, live.get(field, _ABSENT), field)
    return merged


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    """A null in a manifest means "leave out"."""
    return {
        field: _without_nulls(inner) if isinstance(inner, dict) else inner
        for field, inner in value.items()
        if inner is not None
    }


def _merged_list(last: list[Any], wanted: list[Any], live: list[Any], field: str) -> list[Any]:
    if field in _SETS:
        kept = [value for value in live if value in wanted or value not in last]
        return [*kept, *(value for value in wanted if value not in kept)]
    keys = _merge_keys(field, [*wanted, *live])
    if not keys:
        return wanted
    live_by_key = {_key(element, keys): element for element in live}
    last_by_key = {_key(element, keys): element for element in last if _has_keys(element, keys[:1])}
    wanted_keys = [_key(element, keys) for element in wanted]
    merged = {
        key: _merged(last_by_key.get(key), element, live_by_key.get(key, _ABSENT), "")
        for key, element in zip(wanted_keys, wanted, strict=True)
    }
    foreign = [key for key in live_by_key if key not in merged and key not in last_by_key]
    stay = [key for key in live_by_key if key in merged or key in foreign]
    if [key for key in stay if key in merged] == wanted_keys:
        order = stay  # the server's order, where the manifest does not ask for another one
    else:
        order = [*dict.fromkeys(wanted_keys), *foreign]
    return [merged[key] if key in merged else live_by_key[key] for key in order]


def _merge_keys(field: str, elements: Sequence[Any]) -> tuple[str, ...]:
    for keys in _MERGE_KEYS.get(field, ()):
        required = tuple(key for key in keys if key not in _KEY_DEFAULTS)
        if all(_has_keys(element, required) for element in elements):
            distinct = {_key(element, keys) for element in elements}
            if distinct:
                return keys
    return ()


def _has_keys(element: Any, keys: Sequence[str]) -> bool:
    return isinstance(element, dict) and all(element.get(key) is not None for key in keys)


def _key(element: dict[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(element.get(key, _KEY_DEFAULTS.get(key, ""))) for key in keys)
