"""One write on its way through admission, and what plugins are given to judge it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random, SystemRandom
from typing import Any, Protocol

from apiserver.admission.figures import AdmissionFigures
from apiserver.reader import Reader, Writer
from apiserver.user import User
from kubraft.api.errors import Cause, ForbiddenError
from kubraft.api.gvk import POD, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock


class Operation(StrEnum):
    """What a request does; a patch is an update."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(slots=True)
class AdmissionRequest:
    """The write: `obj` is the new state (None: a delete), `old` the stored one (None: a create).

    While mutating, a plugin may change `obj` in place or replace it, but not its kind, name or
    namespace; while validating, nothing. `old` is shared with the cache and never changed.
    `resource` is the plural. `options` are those of the request, as CreateOptions and the like.
    """

    operation: Operation
    user: User
    gvk: GroupVersionKind
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    obj: Object | None = None
    old: Object | None = None
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    # The kind of the resource, where the object is of another one: pods of a Binding.
    parent: GroupVersionKind | None = None
    # For plugins, what must last from one pass of mutation to the next.
    passes: dict[str, Any] = field(default_factory=dict)
    # Of a view in another version: the request as it was made.
    original: AdmissionRequest | None = None
    # Set by a plugin that wants all mutating plugins to be run once more.
    reinvoke: bool = False

    @property
    def served_kind(self) -> GroupVersionKind:
        """The kind whose group and version the URL has."""
        return self.parent or self.gvk

    @property
    def qualified_resource(self) -> str:
        """As messages name it: "pods", "deployments.apps"."""
        return f"{self.resource}.{self.gvk.group}" if self.gvk.group else self.resource

    @property
    def creates_pod(self) -> bool:
        """Whether a new Pod is to be stored; what several plugins are about."""
        return (self.gvk, self.subresource, self.operation) == (POD, "", Operation.CREATE)

    @property
    def resizes_pod(self) -> bool:
        """Whether what the containers of a Pod may use is to change."""
        return (self.gvk, self.subresource, self.operation) == (POD, "resize", Operation.UPDATE)

    @property
    def shown_name(self) -> str:
        """The name for messages; of an object whose name is still to be made, its prefix."""
        if self.name or self.obj is None:
            return self.name or "Unknown"
        metadata = self.obj.get("metadata") or {}
        name: str = metadata.get("name") or metadata.get("generateName") or "Unknown"
        return name

    def forbidden(self, why: str, *, causes: Sequence[Cause] = ()) -> ForbiddenError:
        """Upstream's refusal: `pods "web" is forbidden: WHY`."""
        return ForbiddenError(
            f'{self.qualified_resource} "{self.shown_name}" is forbidden: {why}',
            group=self.gvk.group,
            kind=self.resource,
            name=self.shown_name,
            causes=causes,
        )


class Versions(Protocol):
    """The versions in which a resource is served."""

    def of(self, kind: GroupVersionKind, subresource: str) -> Sequence[GroupVersionKind]:
        """The other kinds under which the same objects are served, with that subresource."""
        ...

    async def convert(
        self, obj: Object, before: GroupVersionKind, after: GroupVersionKind
    ) -> Object:
        """An object of its own in another of those versions; `obj` stays as it is.

        Raises:
            InternalError: it cannot be converted.
        """
        ...


class OneVersion:
    """Versions of a cluster that serves each resource in one."""

    def of(self, kind: GroupVersionKind, subresource: str) -> Sequence[GroupVersionKind]:
        del kind, subresource
        return ()

    async def convert(
        self, obj: Object, before: GroupVersionKind, after: GroupVersionKind
    ) -> Object:
        del before
        return {**copy.deepcopy(obj), "apiVersion": after.api_version, "kind": after.kind}


def _as_it_is(gvk: GroupVersionKind, obj: Object) -> Object:
    del gvk
    return obj


def _unpatched(gvk: GroupVersionKind, obj: Object, patch: Any) -> Object:
    del gvk, patch
    return obj


def _unknown(gvk: GroupVersionKind) -> bool | None:
    del gvk
    return None


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """What a plugin may use: the cache, writes as the API server itself, time and chance.

    `decode` gives an object that a program made the shape of its kind: unknown fields are
    dropped, defaults filled in; it raises BadRequestError where a field has the wrong type.
    `patch` applies a JSON patch (a list) or merges a configuration as a server-side apply (an
    object), and raises as patches of clients do; `is_namespaced` is None for a kind that is not
    served; `kinds` are those that have namespaces, each resource once, with their plurals. Tests
    that need none of them leave them out.
    """

    reader: Reader
    writer: Writer
    clock: Clock
    rng: Random = field(default_factory=SystemRandom)
    decode: Callable[[GroupVersionKind, Object], Object] = _as_it_is
    patch: Callable[[GroupVersionKind, Object, Any], Object] = _unpatched
    is_namespaced: Callable[[GroupVersionKind], bool | None] = _unknown
    kinds: Callable[[], Iterable[tuple[GroupVersionKind, str]]] = tuple
    versions: Versions = field(default_factory=OneVersion)
    figures: AdmissionFigures = field(default_factory=AdmissionFigures)
