"""Refusals of the registry in upstream's words.

Source: apimachinery api/errors (constructors and their messages).
"""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.registry.resource import Resource
from kubraft.api.errors import (
    AlreadyExistsError,
    Cause,
    ConflictError,
    InvalidError,
    MethodNotAllowedError,
    NotFoundError,
)

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def not_found(resource: Resource, name: str) -> NotFoundError:
    return NotFoundError(
        f'{resource.qualified} "{name}" not found',
        group=resource.gvk.group,
        kind=resource.plural,
        name=name,
    )


def already_exists(resource: Resource, name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f'{resource.qualified} "{name}" already exists',
        group=resource.gvk.group,
        kind=resource.plural,
        name=name,
    )


def generate_name_exhausted(resource: Resource, name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f'{resource.qualified} "{name}" already exists, the server was not able to generate a '
        "unique name for the object",
        group=resource.gvk.group,
        kind=resource.plural,
        name=name,
        retry_after_s=1,
    )


def conflict(resource: Resource, name: str, cause: str = MODIFIED) -> ConflictError:
    return conflict_of(resource.qualified, resource, name, cause)


def conflict_of(what: str, resource: Resource, name: str, cause: str) -> ConflictError:
    """A conflict on a part that messages name `what` ("pods/binding")."""
    return ConflictError(
        f'Operation cannot be fulfilled on {what} "{name}": {cause}',
        group=resource.gvk.group,
        kind=resource.plural,
        name=name,
    )


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> InvalidError:
    shown = ", ".join(map(str, causes))
    if len(causes) > 1:
        shown = f"[{shown}]"
    return InvalidError(
        f'{resource.qualified_kind} "{name}" is invalid: {shown}',
        group=resource.gvk.group,
        kind=resource.gvk.kind,
        name=name,
        causes=causes,
    )


def not_supported(resource: Resource, verb: str) -> MethodNotAllowedError:
    return MethodNotAllowedError(
        f"{verb} is not supported on resources of kind {resource.qualified}",
        group=resource.gvk.group,
        kind=resource.plural,
    )
