"""Gives CustomResourceDefinitions their names and conditions, and ends those that are deleted.

Runs in every API server: what it writes follows from what is stored, so that a conflict with
another server means that the work is done.

Source: upstream's naming, establishing and finalizing controllers.
"""

from __future__ import annotations

import asyncio

from apiserver.reader import Reader
from apiserver.registry.call import Call, DeleteOptions
from apiserver.registry.custom.definition import CLEANUP
from apiserver.registry.custom.naming import named, terminating
from apiserver.registry.delete import delete
from apiserver.registry.internal import InternalWriter
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.resource import Resource
from apiserver.storage.reads import ListOptions
from apiserver.user import SYSTEM
from kubraft.api.conditions import is_true
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from kubraft.api.object import Object, is_terminating
from kubraft.log import get_logger

# Instances may wait for their finalizers, and the store may be away.
RETRY_S = 0.5
DELETES_AT_ONCE = 32

_log = get_logger("apiserver.definitions")


class DefinitionController:
    """Looks at all definitions whenever one has changed; there are few, and most need nothing."""

    def __init__(
        self, reader: Reader, writer: InternalWriter, machinery: Machinery, policy: Policy
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._machinery = machinery
        self._policy = policy
        self._told: dict[str, str] = {}
        self._changed = asyncio.Event()
        reader.add_handler(DEFINITION, self._on_change)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        del old, new
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._look():
                # Seen to again at the next change, or when the time is over.
                try:
                    async with asyncio.timeout(RETRY_S):
                        await self._changed.wait()
                except TimeoutError:
                    self._changed.set()

    async def _look(self) -> bool:
        """See to all definitions; whether there is more to come of one."""
        again = False
        for definition in list(self._reader.list(DEFINITION)):
            name = definition["metadata"]["name"]
            try:
                again |= await self._see_to(definition)
            except (ConflictError, NotFoundError):
                continue  # changed meanwhile: its change brings us back
            except ApiError as error:
                if self._told.get(name) != error.message:  # once, however often it is tried
                    _log.warning("definition_not_seen_to", name=name, cause=error.message)
                self._told[name] = error.message
                again = True
            else:
                self._told.pop(name, None)
        return again

    async def _see_to(self, definition: Object) -> bool:
        """One definition; whether there is more to come of it."""
        if is_terminating(definition):
            if CLEANUP in (definition["metadata"].get("finalizers") or ()):
                return await self._end(definition)
            return False
        group = definition["spec"]["group"]
        others = [
            other
            for other in self._reader.list(DEFINITION)
            if other["spec"]["group"] == group
            and other["metadata"]["name"] != definition["metadata"]["name"]
        ]
        status = named(definition, others, self._machinery.clock.now())
        if status != definition.get("status"):
            await self._writer.update({**definition, "status": status}, "status")
        return False

    async def _end(self, definition: Object) -> bool:
        """Delete the instances, then let go of the definition."""
        now = self._machinery.clock.now
        name = definition["metadata"]["name"]
        rows = [row for row in self._machinery.resources.custom(name) if row.custom]
        if not is_true(definition, "Established"):
            reason, message = "NeverEstablished", "resource was never established"
        elif rows and not await self._delete_instances(rows[0]):
            reason, message = (
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress",
            )
            status = terminating(definition, "True", reason, message, now())
            if status != definition.get("status"):
                await self._writer.update({**definition, "status": status}, "status")
            return True
        else:
            reason, message = "InstanceDeletionCompleted", "removed all instances"
        status = terminating(definition, "False", reason, message, now())
        definition = await self._writer.update({**definition, "status": status}, "status")
        metadata = dict(definition["metadata"])
        metadata["finalizers"] = [f for f in metadata["finalizers"] if f != CLEANUP]
        await self._writer.update({**definition, "metadata": metadata})
        return False

    async def _delete_instances(self, row: Resource) -> bool:
        """Begin to delete what there is; whether nothing is left."""
        reads = self._machinery.reads
        found = (await reads.list(row.prefix, row.prefix, ListOptions())).entries
        going = [e.view()["metadata"] for e in found if not is_terminating(e.view())]
        for start in range(0, len(going), DELETES_AT_ONCE):
            batch = going[start : start + DELETES_AT_ONCE]
            await asyncio.gather(*(self._delete(row, metadata) for metadata in batch))
        if len(going) < len(found):
            return False
        return not (await reads.list(row.prefix, row.prefix, ListOptions(limit=1))).entries

    async def _delete(self, row: Resource, metadata: Object) -> None:
        call = Call(SYSTEM, row, metadata.get("namespace", ""), metadata["name"])
        options = DeleteOptions(propagation="Background", uid=metadata["uid"], trusted=True)
        try:
            await delete(self._machinery, self._policy, call, options)
        except (NotFoundError, ConflictError):
            return  # gone, or another by now: the next look says
