"""The versions in which the same objects are served: what matchPolicy Equivalent is about.

As upstream, resources are the same where they lie in the store under the same keys.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence

from apiserver.registry.conversion import Conversion
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from kubraft.api.errors import InternalError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object


class ServedVersions:
    """Implements apiserver.admission.request.Versions over the table."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._generation = -1
        self._same: dict[GroupVersionKind, tuple[Resource, ...]] = {}

    def of(self, kind: GroupVersionKind, subresource: str) -> Sequence[GroupVersionKind]:
        return [
            row.gvk
            for row in self._rows().get(kind, ())
            if row.gvk != kind and (not subresource or subresource in row.subresources)
        ]

    async def convert(
        self, obj: Object, before: GroupVersionKind, after: GroupVersionKind
    ) -> Object:
        source, target = self._row(before), self._row(after)
        if target.custom is None:
            made = copy.deepcopy(obj)
            if isinstance(source.form, Conversion):
                made = source.form.to_stored(made)
            if isinstance(target.form, Conversion):
                made = target.form.from_stored(made)
            return made
        # Two webhooks for one definition are the same one.
        if target.custom.converter is not None:
            return (await target.custom.converter.convert([obj], after.api_version))[0]
        return {**copy.deepcopy(obj), "apiVersion": after.api_version}

    def _row(self, kind: GroupVersionKind) -> Resource:
        try:
            return self._resources[kind]
        except KeyError:
            where = f"{kind.api_version}, Kind={kind.kind}"
            raise InternalError(f"unable to convert to {where}: unknown kind") from None

    def _rows(self) -> dict[GroupVersionKind, tuple[Resource, ...]]:
        """By kind, the rows that have its keys; only where there is more than one."""
        if self._generation != self._resources.generation:
            by_prefix: defaultdict[str, list[Resource]] = defaultdict(list)
            for row in self._resources:
                by_prefix[row.prefix].append(row)
            several = [tuple(rows) for rows in by_prefix.values() if len(rows) > 1]
            self._same = {row.gvk: rows for rows in several for row in rows}
            self._generation = self._resources.generation
        return self._same
