"""The scale subresource: one number of a workload, read and written by itself.

Source: Kubernetes API reference, autoscaling/v1 Scale; upstream's texts.
"""

from __future__ import annotations

from apiserver.registry.update import Change
from apiserver.schema.schemas import FieldValidation, Schemas
from kubraft.api.errors import BadRequestError, Cause, InvalidError
from kubraft.api.gvk import SCALE
from kubraft.api.labels import selector_from_labels, selector_from_object
from kubraft.api.object import Object

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
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


def _selector(selector: Object) -> str:
    """A ReplicationController selects by labels alone."""
    if selector and not selector.keys() & {"matchLabels", "matchExpressions"}:
        return str(selector_from_labels(selector))
    return str(selector_from_object(selector))


def rescaled(change: Change, schemas: Schemas, mode: FieldValidation) -> Change:
    """A change of a Scale as one of the workload behind it.

    The change that is returned raises:
        BadRequestError: what comes out is no Scale.
        InvalidError: it asks for less than nothing.
    """

    def changed(obj: Object) -> Object:
        wanted = change(scale_of(obj))
        wanted.setdefault("kind", SCALE.kind)
        wanted.setdefault("apiVersion", SCALE.api_version)
        scale = schemas.decode(SCALE, wanted, mode).obj
        metadata, name = scale.get("metadata") or {}, obj["metadata"]["name"]
        if metadata.get("name", name) != name:
            raise BadRequestError(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = Cause("FieldValueInvalid", message, "spec.replicas")
            raise InvalidError(
                f'Scale.autoscaling "{name}" is invalid: {cause}',
                group=SCALE.group,
                kind=SCALE.kind,
                name=name,
                causes=[cause],
            )
        own = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
        kept = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
        return {
            **obj,
            "metadata": {**kept, **own},
            "spec": {**(obj.get("spec") or {}), "replicas": replicas},
        }

    return changed
