"""The scale subresource: one number of a workload, read and written by itself.

Source: Kubernetes API reference, autoscaling/v1 Scale; upstream's texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.registry.custom.kind import ScalePaths, value_at
from apiserver.registry.scale_managers import carried_over, shown
from apiserver.registry.update import Change
from apiserver.schema.schemas import FieldValidation, Schemas
from kubraft.api.errors import BadRequestError, Cause, InternalError, InvalidError
from kubraft.api.gvk import SCALE, GroupVersionKind
from kubraft.api.labels import selector_from_labels, selector_from_object
from kubraft.api.object import Object

# Marks a number that was not there; upstream takes the same.
_ABSENT = -(2**31)
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object, paths: ScalePaths | None = None) -> Object:
    """The Scale of a workload; `paths` is where a custom one keeps its numbers.

    Raises:
        InternalError: a custom object has no number of replicas.
    """
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    if paths is not None:
        return _custom_scale(obj, metadata, paths)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    replicas = spec.get("replicas", 0)
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": _selector(spec.get("selector") or {}),
        },
    }


def _custom_scale(obj: Object, metadata: Object, paths: ScalePaths) -> Object:
    replicas = value_at(obj, paths.spec_replicas)
    if not isinstance(replicas, int):
        field = "." + ".".join(paths.spec_replicas)
        raise InternalError(
            f'Internal error occurred: the spec replicas field "{field}" does not exist'
        )
    status = {"replicas": value_at(obj, paths.status_replicas) or 0}
    if paths.selector and (selector := value_at(obj, paths.selector)):
        status["selector"] = selector
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _scale_to_change(obj: Object, paths: ScalePaths | None) -> Object:
    """As `scale_of`, where a custom object without a number may be given one."""
    if paths is None or value_at(obj, paths.spec_replicas) is not None:
        return scale_of(obj, paths)
    marked = dict(obj)
    _put(marked, paths.spec_replicas, _ABSENT)
    return scale_of(marked, paths)


def _selector(selector: Object) -> str:
    """A ReplicationController selects by labels alone."""
    if selector and not selector.keys() & {"matchLabels", "matchExpressions"}:
        return str(selector_from_labels(selector))
    return str(selector_from_object(selector))


def rescaled(
    change: Change,
    schemas: Schemas,
    mode: FieldValidation,
    paths: ScalePaths | None = None,
) -> Change:
    """A change of a Scale, with its managedFields, as one of the workload behind it.

    The change that is returned raises:
        BadRequestError: what comes out is no Scale.
        InvalidError: it asks for less than nothing.
    """

    def changed(obj: Object) -> Object:
        before = _scale_to_change(obj, paths)
        before["metadata"]["managedFields"] = shown(obj, paths)
        wanted = change(before)
        wanted.setdefault("kind", SCALE.kind)
        wanted.setdefault("apiVersion", SCALE.api_version)
        scale = schemas.decode(SCALE, wanted, mode).obj
        metadata, name = scale.get("metadata") or {}, obj["metadata"]["name"]
        if metadata.get("name", name) != name:
            raise BadRequestError(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )
        own = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
        kept = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
        managed = {"managedFields": carried_over(obj, scale, paths)}
        new = {**obj, "metadata": {**kept, **managed, **own}}
        return _with_replicas(new, scale, paths)

    return changed


@dataclass(frozen=True, slots=True)
class ScaleView:
    """A workload as admission sees it while its scale is written; see `update.View`."""

    paths: ScalePaths | None = None
    gvk: GroupVersionKind = SCALE
    subresource: str = "scale"

    def show(self, obj: Object) -> Object:
        """The Scale of the workload; without replicas where it has none."""
        scale = _scale_to_change(obj, self.paths)
        if scale["spec"].get("replicas") == _ABSENT:
            scale["spec"] = {}
        return scale

    def take(self, obj: Object, shown: Object) -> Object:
        """The workload with what admission made of its Scale. Raises as changes of it do."""
        return _with_replicas(dict(obj), shown, self.paths)


def _with_replicas(obj: Object, scale: Object, paths: ScalePaths | None) -> Object:
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas == _ABSENT and paths is not None:
        field = "." + ".".join(paths.spec_replicas)
        raise BadRequestError(f'the spec replicas field "{field}" cannot be empty')
    if replicas < 0:
        name = obj["metadata"]["name"]
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = Cause("FieldValueInvalid", message, "spec.replicas")
        raise InvalidError(
            f'Scale.autoscaling "{name}" is invalid: {cause}',
            group=SCALE.group,
            kind=SCALE.kind,
            name=name,
            causes=[cause],
        )
    _put(obj, paths.spec_replicas if paths else ("spec", "replicas"), replicas)
    return obj


def _put(obj: Object, path: tuple[str, ...], value: int) -> None:
    """Set a number; the objects on the way to it are copied, for the old one stays as it was."""
    for name in path[:-1]:
        obj[name] = dict(obj.get(name) or {})
        obj = obj[name]
    obj[path[-1]] = value
