"""What a delete request comes to. Pure: from the stored object to a plan.

Source: Kubernetes documentation, "Garbage Collection", "Finalizers", "Pod Lifecycle: termination";
upstream's rest.BeforeDelete.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from apiserver.registry.strategy import Deletion, Strategy
from kubraft.api.object import Object
from kubraft.api.time import format_time, parse_time

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_FINALIZER_OF = {"Orphan": ORPHAN, "Foreground": FOREGROUND}
PROPAGATIONS = ("Background", "Foreground", "Orphan")


class Plan(NamedTuple):
    """`remove` the key, or write `obj`; neither where nothing changes."""

    obj: Object
    remove: bool = False
    write: bool = False


def plan(
    obj: Object, strategy: Strategy, *, grace_s: int | None, propagation: str, now: datetime
) -> Plan:
    """Decide on a delete of `obj`, which is taken over and may be changed.

    Args:
        grace_s: what the request asks for; None leaves it to the object.
        propagation: one of `PROPAGATIONS`, or "" to leave it to the object's finalizers.
        now: becomes the deletion timestamp, the grace period added.
    """
    changed = _set_propagation(obj, propagation)
    if strategy.deletion is Deletion.FINALIZED:
        return _plan_namespace(obj, changed=changed, now=now)
    period_s = 0
    if strategy.deletion is Deletion.GRACEFUL:
        period_s = strategy.grace_period_s(obj, grace_s)
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return _plan_again(obj, period_s, grace_s, changed=changed)
    strategy.begin_deletion(obj, now)
    if period_s == 0 and not metadata.get("finalizers"):
        metadata["deletionTimestamp"] = format_time(now)
        metadata["deletionGracePeriodSeconds"] = 0
        return Plan(obj, remove=True)
    _mark(obj, period_s, now)
    return Plan(obj, write=True)


def _mark(obj: Object, period_s: int, now: datetime) -> None:
    metadata = obj["metadata"]
    metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=period_s))
    metadata["deletionGracePeriodSeconds"] = period_s
    if metadata.get("generation"):
        metadata["generation"] += 1


def _plan_again(obj: Object, period_s: int, asked_s: int | None, *, changed: bool) -> Plan:
    """Deletion has begun already: it can only be made shorter."""
    metadata = obj["metadata"]
    current_s = metadata.get("deletionGracePeriodSeconds") or 0
    shorter = current_s > 0 and period_s < current_s and (asked_s is not None or period_s == 0)
    if shorter:
        begun = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=current_s)
        metadata["deletionTimestamp"] = format_time(begun + timedelta(seconds=period_s))
        metadata["deletionGracePeriodSeconds"] = period_s
    if not metadata.get("deletionGracePeriodSeconds") and not metadata.get("finalizers"):
        return Plan(obj, remove=True)
    return Plan(obj, write=shorter or changed)


def _plan_namespace(obj: Object, *, changed: bool, now: datetime) -> Plan:
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = format_time(now)
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        changed = True
    if not (obj.get("spec") or {}).get("finalizers") and not metadata.get("finalizers"):
        return Plan(obj, remove=True)
    return Plan(obj, write=changed)


def _set_propagation(obj: Object, propagation: str) -> bool:
    """Put the finalizer of the wanted propagation in place; whether that changed anything."""
    if not propagation:
        return False
    metadata = obj["metadata"]
    before = metadata.get("finalizers") or []
    after = [name for name in before if name not in (ORPHAN, FOREGROUND)]
    if finalizer := _FINALIZER_OF.get(propagation):
        after.append(finalizer)
    if sorted(after) == sorted(before):
        return False
    if after:
        metadata["finalizers"] = after
    else:
        metadata.pop("finalizers", None)
    return True
