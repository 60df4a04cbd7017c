"""A container's environment: values, references, and $(NAME) in them.

Source: Kubernetes API reference, EnvVar and EnvFromSource; documentation, "Define Dependent
Environment Variables".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agents.node.fields import FieldError, Place, field_value, resource_value
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CONFIG_MAP, SECRET, GroupVersionKind
from kubraft.api.names import env_name_errors
from kubraft.api.object import Object
from kubraft.api.pods import all_containers

Fetch = Callable[[GroupVersionKind, str, str], Awaitable[Object]]  # kind, namespace, name

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class ConfigError(Exception):
    """A container cannot be made from what its spec refers to (CreateContainerConfigError)."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) where the name is known, and $$ by $; all else stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


async def environment(
    pod: Object,
    container: Mapping[str, Any],
    place: Place,
    fetch: Fetch,
    links: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables that the spec gives, in its order; later ones may refer to earlier ones.

    Args:
        links: variables of Services: they may be referred to, and give way to the spec's own.

    Raises:
        ConfigError: a ConfigMap, Secret, key or field that is not optional is missing.
        ApiError: the API could not be asked.
    """
    links = links or {}
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        values |= await _all_of(source, pod["metadata"]["namespace"], fetch)
    for variable in container.get("env") or ():
        name = variable["name"]
        if variable.get("valueFrom"):
            value = await _from(variable["valueFrom"], pod, container, place, fetch)
            if value is not None:
                values[name] = value
        else:
            values[name] = expand(variable.get("value") or "", {**links, **values})
    return {**links, **values}


async def _all_of(source: Mapping[str, Any], namespace: str, fetch: Fetch) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, gvk in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
        reference = source.get(field)
        if reference:
            data = await find_data(gvk, namespace, reference, fetch)
            return {
                prefix + key: value.decode(errors="surrogateescape")
                for key, value in (data or {}).items()
                if not env_name_errors(prefix + key)
            }
    return {}


async def _from(
    source: Mapping[str, Any],
    pod: Object,
    container: Mapping[str, Any],
    place: Place,
    fetch: Fetch,
) -> str | None:
    namespace = pod["metadata"]["namespace"]
    try:
        if "fieldRef" in source:
            return field_value(pod, source["fieldRef"]["fieldPath"], place)
        if "resourceFieldRef" in source:
            reference = source["resourceFieldRef"]
            name = reference.get("containerName")
            subject = container
            for other in all_containers(pod["spec"]):
                if name and other["name"] == name:
                    subject = other
            return resource_value(subject, reference, place)
    except FieldError as error:
        raise ConfigError(str(error)) from error
    for field, gvk in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        reference = source.get(field)
        if reference:
            data = await find_data(gvk, namespace, reference, fetch)
            key = reference["key"]
            if data is None or (key not in data and reference.get("optional")):
                return None
            if key not in data:
                raise ConfigError(
                    f"couldn't find key {key} in {gvk.kind} {namespace}/{reference['name']}"
                )
            return data[key].decode(errors="surrogateescape")
    return None


async def find_data(
    gvk: GroupVersionKind, namespace: str, reference: Mapping[str, Any], fetch: Fetch
) -> dict[str, bytes] | None:
    """The data of a ConfigMap or Secret as bytes; None where it is missing and may be.

    Raises:
        ConfigError: it is missing.
    """
    try:
        obj = await fetch(gvk, namespace, reference["name"])
    except NotFoundError as error:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{gvk.kind.lower()} "{reference["name"]}" not found') from error
    return data_of(obj)


def data_of(obj: Object) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret with their bytes."""
    if obj["kind"] == SECRET.kind:
        return {k: base64.b64decode(v or "") for k, v in (obj.get("data") or {}).items()}
    text = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
    binary = {k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()}
    return text | binary
