"""Keeps an APIService for each version that this server has itself.

Those of built-in groups are seen to when the server starts; those of custom resources come and go
with their definitions. What somebody made without our label is theirs.

Source: kube-aggregator's autoregister controller; kube-apiserver's crd-registration controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from apiserver.aggregation.services import MANAGED, OWN_GROUP, GroupVersion, local
from apiserver.reader import Reader, Writer
from apiserver.registry.kinds.apiregistration import API_SERVICE
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION
from kubraft.api.object import Object, labels_of
from kubraft.log import get_logger

RETRY_S: Final = 1.0

_log = get_logger("apiserver.aggregation")


class Action(NamedTuple):
    """One write: `verb` is create, update or delete."""

    verb: str
    obj: Object


def plan(
    served: Iterable[GroupVersion], existing: Mapping[str, Object], *, starting: bool
) -> Iterator[Action]:
    """The writes that give each version its APIService. Pure.

    Args:
        served: the versions that this server has itself.
        existing: all APIServices, by name.
        starting: whether those of built-in groups are seen to, too.
    """
    wanted = {
        made["metadata"]["name"]: made
        for made in (local(g, v) for g, v in served if g != OWN_GROUP)
    }
    for name, obj in wanted.items():
        label = labels_of(obj)[MANAGED]
        if label != "true" and not starting:
            continue
        found = existing.get(name)
        if found is None:
            yield Action("create", obj)
        elif MANAGED in labels_of(found) and _differs(found, obj):
            metadata = {**found["metadata"]}
            metadata["labels"] = {**labels_of(found), MANAGED: label}
            yield Action("update", {**found, "metadata": metadata, "spec": obj["spec"]})
    for name, obj in existing.items():
        if name not in wanted and MANAGED in labels_of(obj):
            yield Action("delete", obj)


def _differs(found: Object, wanted: Object) -> bool:
    return bool(
        found["spec"] != wanted["spec"] or labels_of(found)[MANAGED] != labels_of(wanted)[MANAGED]
    )


class Registration:
    """Carries the plan out whenever a definition or an APIService has changed."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        resources: Resources,
        others: Iterable[Resource] = (),
    ) -> None:
        """`others` are served beside the table. Make it after what follows definitions."""
        self._reader = reader
        self._writer = writer
        self._resources = resources
        self._others = tuple(others)
        self._starting = True
        self._changed = asyncio.Event()
        for kind in (API_SERVICE, CUSTOM_RESOURCE_DEFINITION):
            reader.add_handler(kind, lambda _before, _after: self._changed.set())

    async def run(self) -> None:
        """Work until cancelled; begin once the caches are filled."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._look():
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def _look(self) -> bool:
        """See to all; whether all was done."""
        rows = (*self._resources.offers(), *self._others)
        served = {(row.gvk.group, row.gvk.version): None for row in rows}
        existing = {obj["metadata"]["name"]: obj for obj in self._reader.list(API_SERVICE)}
        actions = list(plan(served, existing, starting=self._starting))
        done = all(await asyncio.gather(*map(self._act, actions)))
        self._starting = self._starting and not done
        return done

    async def _act(self, action: Action) -> bool:
        metadata = action.obj["metadata"]
        try:
            if action.verb == "create":
                await self._writer.create(action.obj)
            elif action.verb == "update":
                await self._writer.update(action.obj)
            else:
                await self._writer.delete(API_SERVICE, "", metadata["name"], uid=metadata["uid"])
        except (AlreadyExistsError, ConflictError, NotFoundError):
            return True  # another server was faster; the change brings us back
        except ApiError as error:
            _log.warning("api_service_not_kept", name=metadata["name"], cause=error.message)
            return False
        return True
