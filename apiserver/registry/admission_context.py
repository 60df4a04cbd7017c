"""What admission plugins are given to work with objects of all kinds."""

from __future__ import annotations

from random import Random
from typing import Any

from apiserver.admission.request import AdmissionContext
from apiserver.apply.overlay import overlaid
from apiserver.apply.types import Type
from apiserver.apply.updater import MergeError
from apiserver.apply.validation import MistypedError
from apiserver.connect.options import is_options, read_options
from apiserver.reader import Reader, Writer
from apiserver.registry.equivalents import ServedVersions
from apiserver.registry.machinery import Machinery
from apiserver.registry.patches import JSON, change_of
from apiserver.schema.schemas import FieldValidation
from kubraft.api.errors import BadRequestError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object


def make_context(
    machinery: Machinery, reader: Reader, writer: Writer, rng: Random
) -> AdmissionContext:
    """A context over the tables and schemas of the registry."""
    tools = _Tools(machinery)
    return AdmissionContext(
        reader,
        writer,
        machinery.clock,
        rng,
        tools.decode,
        tools.patch,
        tools.is_namespaced,
        tools.kinds,
        ServedVersions(machinery.resources),
    )


class _Tools:
    """See AdmissionContext."""

    def __init__(self, machinery: Machinery) -> None:
        self._machinery = machinery

    def decode(self, kind: GroupVersionKind, obj: Object) -> Object:
        if is_options(kind):
            return read_options(obj)
        machinery = self._machinery
        resource = machinery.resources.find(kind.api_version, kind.kind)
        if resource is None:
            return machinery.schemas.decode(kind, obj, FieldValidation.IGNORE).obj
        decoded = machinery.decode(resource, obj, FieldValidation.IGNORE).obj
        try:
            resource.strategy.default(decoded)
        except (TypeError, AttributeError, KeyError) as error:
            raise BadRequestError(f"the object cannot be defaulted: {error}") from error
        return decoded

    def patch(self, kind: GroupVersionKind, obj: Object, patch: Any) -> Object:
        if is_options(kind):
            return _patched_options(obj, patch)
        if isinstance(patch, list):
            return change_of(JSON, patch)(obj)
        config = {**patch, "apiVersion": kind.api_version, "kind": kind.kind}
        try:
            return overlaid(self._type(kind), obj, config)
        except MistypedError as error:
            said = f"failed to convert patch object to typed object: {error}"
            raise BadRequestError(f"error applying patch: {said}") from error
        except MergeError as error:
            raise BadRequestError(f"error applying patch: {error}") from error

    def _type(self, kind: GroupVersionKind) -> Type:
        machinery = self._machinery
        resource = machinery.resources.find(kind.api_version, kind.kind)
        if resource is None:  # of a subresource
            return machinery.schemas.merge_type(kind)
        return machinery.merge_type(resource)

    def kinds(self) -> list[tuple[GroupVersionKind, str]]:
        first = {row.prefix: row for row in reversed(list(self._machinery.resources))}
        return [(row.gvk, row.plural) for row in first.values() if row.namespaced]

    def is_namespaced(self, kind: GroupVersionKind) -> bool | None:
        resource = self._machinery.resources.find(kind.api_version, kind.kind)
        return None if resource is None else resource.namespaced


def _patched_options(obj: Object, patch: Any) -> Object:
    """Options of a connect request: what is in them is replaced, nothing is merged."""
    if isinstance(patch, list):
        made = change_of(JSON, patch)({**obj, "metadata": {}})
        return {name: value for name, value in made.items() if name != "metadata"}
    return {**obj, **patch}
