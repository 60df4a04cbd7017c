"""The rows of the resource table that a CustomResourceDefinition makes: one a served version."""

from __future__ import annotations

import re
from typing import Any

from apiserver.registry.custom.columns import columns_of
from apiserver.registry.custom.kind import Converter, CustomKind, ScalePaths
from apiserver.registry.custom.strategy import CustomStrategy
from apiserver.registry.resource import Resource
from kubraft.api.conditions import is_true
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, is_terminating

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGES = {"alpha": 0, "beta": 1, None: 2}


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as clients prefer them: v2, v1, v1beta2, v1beta1, v1alpha1, others by name.

    Source: Kubernetes documentation, "Version priority".
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return 1, 0, 0, version
    return 0, -_STAGES[match[2]] * 10**9 - int(match[1]), -int(match[3] or 0), ""


def rows_of(definition: Object, converter: Converter | None = None) -> list[Resource]:
    """The rows of a definition that is served; none until its names are accepted.

    `converter` is that of definitions whose versions a webhook converts.
    """
    if not (is_true(definition, "NamesAccepted") or is_true(definition, "Established")):
        return []
    spec = definition["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    served.sort(key=lambda version: version_priority(version["name"]))
    return [_row(definition, version, converter) for version in served]


def _row(definition: Object, version: dict[str, Any], converter: Converter | None) -> Resource:
    spec = definition["spec"]
    names = (definition.get("status") or {}).get("acceptedNames") or spec["names"]
    subresources = version.get("subresources") or {}
    kind = CustomKind(
        group=spec["group"],
        version=version["name"],
        storage_version=next(v["name"] for v in spec["versions"] if v.get("storage")),
        schema=(version.get("schema") or {}).get("openAPIV3Schema") or {},
        scale=_scale(subresources.get("scale")),
        warnings=_warnings(spec, version),
        terminating=is_terminating(definition),
        converter=converter,
    )
    served = [name for name in ("status", "scale") if subresources.get(name) is not None]
    return Resource(
        GroupVersionKind(spec["group"], version["name"], names["kind"]),
        names["plural"],
        CustomStrategy(kind, has_status="status" in served),
        columns_of(version.get("additionalPrinterColumns") or ()),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(served),
        selectable_fields=tuple(
            field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()
        ),
        folder=f"{spec['group']}/{names['plural']}",
        singular_name=names.get("singular", ""),
        list_kind_name=names.get("listKind", ""),
        custom=kind,
    )


def _scale(scale: dict[str, Any] | None) -> ScalePaths | None:
    if scale is None:
        return None

    def names(path: str) -> tuple[str, ...]:
        return tuple(path.removeprefix(".").split(".")) if path else ()

    return ScalePaths(
        names(scale["specReplicasPath"]),
        names(scale["statusReplicasPath"]),
        names(scale.get("labelSelectorPath") or ""),
    )


def _warnings(spec: dict[str, Any], version: dict[str, Any]) -> tuple[str, ...]:
    if not version.get("deprecated"):
        return ()
    if version.get("deprecationWarning") is not None:
        return (version["deprecationWarning"],)
    name = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
    better = [
        other["name"]
        for other in sorted(spec["versions"], key=lambda each: version_priority(each["name"]))
        if other.get("served") and not other.get("deprecated")
    ]
    if better and version_priority(better[0]) < version_priority(version["name"]):
        instead = f"{spec['group']}/{better[0]} {spec['names']['kind']}"
        return (f"{name} is deprecated; use {instead}",)
    return (f"{name} is deprecated",)
