"""The rules of custom objects: what their schema says, and what holds for status and scale."""

from __future__ import annotations

from typing import Any

from apiserver.registry.causes import invalid
from apiserver.registry.custom.kind import CustomKind, value_at
from apiserver.registry.strategy import Strategy
from apiserver.structural.embedded import embedded_causes
from apiserver.structural.list_type import uniqueness_causes
from apiserver.structural.pruning import prune
from apiserver.structural.rules import has_rules, rule_causes
from apiserver.structural.schema import EMPTY, properties_of
from apiserver.structural.values import ABSENT, value_causes
from kubraft.api.errors import Cause
from kubraft.api.object import Object

_INT32_MAX = 2**31 - 1


class CustomStrategy(Strategy):
    """Rules of one version of a custom resource."""

    has_generation = True
    any_finalizer = True

    def __init__(self, kind: CustomKind, *, has_status: bool) -> None:
        self._kind = kind
        self._has_rules = has_rules(kind.schema)
        self.has_status = has_status

    def default(self, obj: Object) -> None:
        self._kind.complete(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        prune(obj, self._kind.schema)  # once more: admission may have put anything there

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        prune(new, self._kind.schema)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Only status is taken over, and of metadata who manages it."""
        status, managed = new.get("status"), new["metadata"].get("managedFields")
        new.clear()
        new.update(old)
        new["metadata"] = dict(old["metadata"])
        new.pop("status", None)
        if managed is not None:
            new["metadata"]["managedFields"] = managed
        if status is not None:
            new["status"] = status
        prune(new, self._kind.schema)

    def changed_spec(self, new: Object, old: Object) -> bool:
        """All but metadata counts; a status that is written by itself has stayed as it was."""
        return _without_metadata(new) != _without_metadata(old)

    def validate(self, obj: Object) -> list[Cause]:
        schema = self._kind.schema
        causes = value_causes(obj, schema) + self._scale_causes(obj)
        causes += embedded_causes(obj, schema) + uniqueness_causes(obj, schema)
        return self._with_rules(causes, obj, ABSENT)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        schema = self._kind.schema
        causes = value_causes(new, schema, old=old) + self._scale_causes(new)
        causes += embedded_causes(new, schema)
        if not uniqueness_causes(old, schema):
            causes += uniqueness_causes(new, schema)
        return self._with_rules(causes, new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        schema = self._kind.schema
        causes: list[Cause] = []
        if "status" in new:
            status = properties_of(schema).get("status", EMPTY)
            before = old.get("status", ABSENT)
            causes += value_causes(new["status"], status, "status", before)
        causes += self._scale_causes(new, of_spec=False)
        if not uniqueness_causes(old, schema):
            causes += uniqueness_causes(new, schema)
        return self._with_rules(causes, new, old)

    def _with_rules(self, causes: list[Cause], new: Object, old: Any) -> list[Cause]:
        if not self._has_rules:
            return causes
        return causes + rule_causes(new, self._kind.schema, old, causes)

    def _scale_causes(self, obj: Object, *, of_spec: bool = True) -> list[Cause]:
        scale = self._kind.scale
        if scale is None:
            return []
        paths = [scale.spec_replicas] if of_spec else []
        causes: list[Cause] = []
        for path in (*paths, scale.status_replicas):
            found = value_at(obj, path)
            if found is not None:
                causes += _replicas_causes("." + ".".join(path), found)
        return causes


def _replicas_causes(field: str, value: Any) -> list[Cause]:
    if isinstance(value, bool) or not isinstance(value, int):
        return [invalid(field, 0, f"{field} accessor error: {value} is of the wrong type")]
    if value < 0:
        return [invalid(field, value, "should be a non-negative integer")]
    if value > _INT32_MAX:
        return [invalid(field, value, f"should be less than or equal to {_INT32_MAX}")]
    return []


def _without_metadata(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}
