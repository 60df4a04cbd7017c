"""Says of each FlowSchema whether the priority level that it names is there.

Source: Kubernetes flowcontrol.apiserver.k8s.io/v1 FlowSchemaCondition, "Dangling".
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final

from apiserver.flow.objects import FLOW_SCHEMA, PRIORITY_LEVEL
from apiserver.reader import Reader, Writer
from kubraft.api.errors import ApiError
from kubraft.api.object import Object
from kubraft.api.time import Clock, format_time

RETRY_S: Final = 1.0


class FlowStatus:
    """Keeps the condition right; several API servers may do so at the same time."""

    def __init__(self, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._changed = asyncio.Event()
        for kind in (FLOW_SCHEMA, PRIORITY_LEVEL):
            reader.add_handler(kind, lambda _before, _after: self._changed.set())

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            levels = {level["metadata"]["name"] for level in self._reader.list(PRIORITY_LEVEL)}
            for schema in list(self._reader.list(FLOW_SCHEMA)):
                told = with_condition(schema, levels, format_time(self._clock.now()))
                if told is not None and not await self._write(told):
                    self._changed.set()
            if self._changed.is_set():
                await asyncio.sleep(RETRY_S)

    async def _write(self, schema: Object) -> bool:
        try:
            await self._writer.update(schema, "status")
        except ApiError:  # changed or deleted meanwhile, or the store is away: look again
            return False
        return True


def with_condition(schema: Object, levels: AbstractSet[str], now: str) -> Object | None:
    """The FlowSchema with its condition as it should be; None where it is so. Pure."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    here = level in levels
    wanted = "False" if here else "True"
    status = schema.get("status") or {}
    conditions = status.get("conditions") or []
    if any(one.get("type") == "Dangling" and one.get("status") == wanted for one in conditions):
        return None
    about = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    condition = {
        "type": "Dangling",
        "status": wanted,
        "lastTransitionTime": now,
        "reason": "Found" if here else "NotFound",
        "message": f"{about} {'and it exists' if here else 'but there is no such object'}",
    }
    others = [one for one in conditions if one.get("type") != "Dangling"]
    return {**schema, "status": {**status, "conditions": [*others, condition]}}
