"""Who manages the replicas of a workload, when they are written through its Scale."""

from __future__ import annotations

from apiserver.apply import managers as entries
from apiserver.apply.fields import FieldSet
from apiserver.apply.path import Path, of_field
from apiserver.apply.scaling import IN_SCALE, to_parent, to_scale
from apiserver.apply.updater import Write, updated
from apiserver.registry.custom.kind import ScalePaths
from apiserver.registry.update import Change
from kubraft.api.object import Object


def only_spec(fields: FieldSet) -> FieldSet:
    """Of a Scale, nothing else is managed."""
    return {"f:spec": fields["f:spec"]} if "f:spec" in fields else {}


def tracked(change: Change, write: Write) -> Change:
    """A change of a Scale by something else than an apply, with its managers kept in step."""

    def changed(scale: Object) -> Object:
        found = scale["metadata"].pop("managedFields", None)
        before, live = entries.read(found, trusted=True), {**scale, "spec": {**scale["spec"]}}
        new = change(scale)
        metadata, spec = new.get("metadata"), new.get("spec") or {}
        if isinstance(metadata, dict) and isinstance(spec, dict):
            after = updated(write, live, {**live, "spec": spec}, before) if before else {}
            new = {**new, "metadata": {**metadata, "managedFields": entries.written(after)}}
        return new

    return changed


def shown(obj: Object, paths: ScalePaths | None) -> list[Object]:
    """The managedFields of an object's Scale."""
    managers = entries.read(obj["metadata"].get("managedFields"), trusted=True)
    return entries.written(to_scale(managers, _replicas(paths)))


def carried_over(obj: Object, scale: Object, paths: ScalePaths | None) -> list[Object]:
    """The managedFields of an object after its Scale became `scale`."""
    before = entries.read(obj["metadata"].get("managedFields"), trusted=True)
    after = entries.read((scale.get("metadata") or {}).get("managedFields"), trusted=True)
    return entries.written(to_parent(before, after, _replicas(paths)))


def _replicas(paths: ScalePaths | None) -> Path:
    return tuple(map(of_field, paths.spec_replicas)) if paths else IN_SCALE
