"""What a node says aloud when one of its conditions turns, in upstream's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubraft.api.conditions import find_condition
from kubraft.api.object import Object

# (condition, status): the reason of the event.
_REASONS: Final = {
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
    ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("DiskPressure", "True"): "NodeHasDiskPressure",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("PIDPressure", "True"): "NodeHasInsufficientPID",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
}


def condition_events(name: str, old: Object, new: Object) -> Iterator[tuple[str, str]]:
    """(reason, message) for each condition of the status `new` that is otherwise in `old`."""
    before: list[dict[str, Any]] = old.get("conditions") or []
    for condition in new.get("conditions") or ():
        known = find_condition(before, condition["type"])
        reason = _REASONS.get((condition["type"], condition["status"]))
        if reason and (known is None or known["status"] != condition["status"]):
            yield reason, f"Node {name} status is now: {reason}"
