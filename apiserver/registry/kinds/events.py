"""Events of events.k8s.io/v1: the same objects as those of core, under newer names.

Source: Kubernetes API reference, events.k8s.io/v1; upstream's conversion and validation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from apiserver.registry import cells
from apiserver.registry.causes import invalid
from apiserver.registry.conversion import Conversion
from apiserver.registry.core import EVENT_TTL_S
from apiserver.registry.paths import Place
from apiserver.registry.resource import Columns, Resource
from apiserver.registry.rules import RuleStrategy, at_least, named, needed, one_of, truly
from kubraft.api.errors import Cause
from kubraft.api.gvk import EVENT as CORE_EVENT
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import qualified_name_errors
from kubraft.api.object import Object

EVENT = GroupVersionKind("events.k8s.io", "v1", "Event")

_TEXT_MAX: Final = 128
_NOTE_MAX: Final = 1024
# Here, and in core.
_NAMES: Final = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_NEW_NAMES: Final = {old: new for new, old in _NAMES.items()}
_REGARDING: Final = (
    "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath",
)  # fmt: skip


def to_core(obj: Object) -> Object:
    """An Event as core has it."""
    renamed = {_NAMES.get(name, name): value for name, value in obj.items()}
    return {**renamed, "apiVersion": CORE_EVENT.api_version}


def from_core(obj: Object) -> Object:
    """An Event of core as this group has it."""
    renamed = {_NEW_NAMES.get(name, name): value for name, value in obj.items()}
    return {**renamed, "apiVersion": EVENT.api_version}


def _same_namespace(place: Place) -> list[Cause]:
    namespace = place.value["metadata"].get("namespace", "")
    involved = (place.value.get("regarding") or {}).get("namespace", "")
    if involved != namespace and (involved or namespace != "default"):
        return [invalid("involvedObject.namespace", involved, "does not match event.namespace")]
    return []


def _short(most: int) -> Any:
    return truly(lambda text: len(text) <= most, f"can have at most {most} characters")


class _EventStrategy(RuleStrategy):
    ttl_s = EVENT_TTL_S

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Events that core made have less than is asked of new ones."""
        del new, old
        return []


def _row(obj: Object, now: datetime) -> list[Any]:
    return cells.EVENT.cells(to_core(obj), now)


ROWS = (
    Resource(
        EVENT,
        "events",
        _EventStrategy(
            checks=(
                ("", _same_namespace),
                ("reportingController", needed(), named(qualified_name_errors)),
                ("reportingInstance", needed(), _short(_TEXT_MAX)),
                ("action", needed(), _short(_TEXT_MAX)),
                ("reason", needed(), _short(_TEXT_MAX)),
                ("note", _short(_NOTE_MAX)),
                ("type", needed(), one_of("Normal", "Warning")),
                ("series.count", at_least(2, "should be at least 2")),
            ),
            create_on_update=True,
        ),
        Columns(cells.EVENT.definitions, _row),
        short_names=("ev",),
        selectable_fields=(
            *(f"regarding.{name}" for name in _REGARDING),
            *("reason", "reportingController", "type"),
        ),
        conversion=Conversion(
            to_core,
            from_core,
            {
                **{f"regarding.{name}": f"involvedObject.{name}" for name in _REGARDING},
                "reportingController": "reportingComponent",
            },
        ),
    ),
)
