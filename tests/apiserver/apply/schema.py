"""A kind with every way of merging, and objects of it, for properties of apply."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from apiserver.apply.types import Type, Types
from apiserver.apply.updater import Write

TEXT = {"type": "string"}
ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "port": {"type": "integer", "default": 80},
        "image": TEXT,
        "args": {"type": "array", "items": TEXT},
        "labels": {"type": "object", "additionalProperties": TEXT},
    },
}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "items": {
            "type": "array",
            "items": ITEM,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name", "port"],
        },
        "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "args": {"type": "array", "items": TEXT},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "selector": {
            "type": "object",
            "additionalProperties": TEXT,
            "x-kubernetes-map-type": "atomic",
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
ROOT = {"type": "object", "properties": {"spec": SPEC}}
KIND: Type = Types().of(ROOT)

_WORDS = st.sampled_from(["a", "b", "c"])
_TEXTS = st.sampled_from(["x", "y"])
_MAPS = st.dictionaries(_WORDS, _TEXTS, min_size=1, max_size=3)
_LISTS = st.lists(_WORDS, min_size=1, max_size=3)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_ITEMS = st.lists(
    st.tuples(
        _WORDS,
        st.sampled_from([80, 81]),
        _optional(image=_TEXTS, args=_LISTS, labels=_MAPS),
    ).map(lambda parts: {"name": parts[0], "port": parts[1], **parts[2]}),
    min_size=1,
    max_size=4,
    unique_by=lambda item: (item["name"], item["port"]),
)
# What people apply: no empty lists and maps, which say nothing that could be taken back.
CONFIGS: st.SearchStrategy[dict[str, Any]] = _optional(
    replicas=st.integers(0, 3),
    items=_ITEMS,
    tags=st.lists(_WORDS, min_size=1, max_size=3, unique=True),
    args=_LISTS,
    labels=_MAPS,
    selector=_MAPS,
    free=st.fixed_dictionaries({"a": st.one_of(_TEXTS, _LISTS, _MAPS)}),
).map(lambda spec: {"spec": spec} if spec else {})


def write(manager: str, now: str = "2026-01-01T00:00:00Z", type_: Type = KIND) -> Write:
    return Write(type_, "v1", manager, now)
