"""Decoding and validation by schema of all kinds that are served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import jsonschema_rs

from apiserver.apply.types import Type, Types
from apiserver.schema.decoder import UNKNOWN_FIELDS_MAX, Decoder, TypeMismatchError
from apiserver.schema.definitions import Schema, load
from apiserver.schema.strict import compile_strict
from apiserver.structural.pruning import prune
from apiserver.structural.schema import Schema as Structural
from kubraft.api.errors import BadRequestError, Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class FieldValidation(Enum):
    """What becomes of unknown fields."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


class Decoded(NamedTuple):
    """An object without nulls and unknown fields; a warning for each that was dropped."""

    obj: Object
    warnings: tuple[str, ...] = ()


class Schemas:
    """Reads the definitions when first needed; compiles each kind's when it is first written."""

    def __init__(self, kinds: Iterable[GroupVersionKind]) -> None:
        self._kinds = tuple(kinds)
        self._definitions: dict[str, Schema] = {}
        self._roots: dict[GroupVersionKind, str] = {}
        self._types: Types | None = None
        self._strict: dict[GroupVersionKind, jsonschema_rs.Draft7Validator] = {}

    def decode(
        self,
        gvk: GroupVersionKind,
        obj: Object,
        mode: FieldValidation = FieldValidation.STRICT,
        repeated: Sequence[str] = (),
    ) -> Decoded:
        """Check an object's shape, and drop what decoding drops. `obj` itself may be returned.

        Args:
            repeated: what is to be said of fields that are there twice.

        Raises:
            BadRequestError: a field has the wrong type, or is unknown in STRICT mode.
        """
        _check_kind(gvk, obj)
        if self._validator(gvk).is_valid(obj):
            return _decoded(gvk, obj, (), mode, repeated)
        decoder = Decoder(self._definitions)
        try:
            decoded: Object = decoder.decode(self._roots[gvk], obj)
        except TypeMismatchError as error:
            raise _unreadable(gvk, str(error)) from error
        return _decoded(gvk, decoded, decoder.unknown, mode, repeated)

    def decode_custom(
        self,
        gvk: GroupVersionKind,
        schema: Structural,
        obj: Object,
        mode: FieldValidation,
        repeated: Sequence[str] = (),
    ) -> Decoded:
        """As `decode`, for a custom kind; `obj` is pruned in place.

        Raises:
            BadRequestError: metadata is malformed, or a field is unknown in STRICT mode.
        """
        _check_kind(gvk, obj)
        self._load()
        decoder = Decoder(self._definitions)
        try:
            metadata = decoder.decode(_OBJECT_META, obj["metadata"])
        except TypeMismatchError as error:
            raise _unreadable(gvk, str(error)) from error
        paths = [f"metadata.{path}" for path in decoder.unknown]
        obj = {**obj, "metadata": metadata}
        paths += prune(obj, schema)
        return _decoded(gvk, obj, paths, mode, repeated)

    def validate(self, gvk: GroupVersionKind, obj: Object) -> list[Cause]:
        """Causes for each required field that is missing, outside status.

        Raises:
            BadRequestError: a field has the wrong type (an admission hook put it there).
        """
        if self._validator(gvk).is_valid(obj):
            return []
        decoder = Decoder(self._definitions)
        root = self._roots[gvk]
        try:
            decoder.decode(root, obj)
        except TypeMismatchError as error:
            raise _unreadable(gvk, str(error)) from error
        return [
            Cause("FieldValueRequired", "Required value", path)
            for path in decoder.missing(root, obj)
        ]

    def definition(self, gvk: GroupVersionKind) -> tuple[dict[str, Schema], str]:
        """All definitions, and the name of that of `gvk`: for patch strategies."""
        self._load()
        return self._definitions, self._roots[gvk]

    def merge_type(self, gvk: GroupVersionKind) -> Type:
        """How objects of a kind merge, and which of their fields are told apart."""
        return self.types.named(self._roots[gvk])

    @property
    def types(self) -> Types:
        """The types of all definitions."""
        if self._types is None:
            self._load()
            self._types = Types(self._definitions)
        return self._types

    def _load(self) -> None:
        if not self._definitions:
            self._definitions, self._roots = load(self._kinds)

    def _validator(self, gvk: GroupVersionKind) -> Any:
        validator = self._strict.get(gvk)
        if validator is None:
            self._load()
            validator = compile_strict(self._definitions, self._roots[gvk])
            self._strict[gvk] = validator
        return validator


def _check_kind(gvk: GroupVersionKind, obj: Object) -> None:
    if (obj.get("apiVersion"), obj.get("kind")) != (gvk.api_version, gvk.kind):
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {gvk.kind}): "
            f"{obj.get('apiVersion')}, Kind={obj.get('kind')}"
        )


def _decoded(
    gvk: GroupVersionKind,
    obj: Object,
    paths: Sequence[str],
    mode: FieldValidation,
    repeated: Sequence[str],
) -> Decoded:
    """The object without its unknown fields; raises BadRequestError where they may not be."""
    unknown = [f'unknown field "{path}"' for path in paths[:UNKNOWN_FIELDS_MAX]]
    unknown += repeated
    if unknown and mode is FieldValidation.STRICT:
        raise _unreadable(gvk, f"strict decoding error: {', '.join(unknown)}")
    return Decoded(obj, tuple(unknown) if mode is FieldValidation.WARN else ())


def _unreadable(gvk: GroupVersionKind, why: str) -> BadRequestError:
    return BadRequestError(
        f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: {why}'
    )
