"""Managers of a workload as its Scale shows them, and back: they share one field, the replicas.

Source: apimachinery managedfields (ScaleHandler).
"""

from __future__ import annotations

from apiserver.apply import fields as sets
from apiserver.apply.managers import Managers, Share
from apiserver.apply.path import Path

IN_SCALE: Path = ("f:spec", "f:replicas")


def to_scale(managers: Managers, replicas: Path = IN_SCALE) -> Managers:
    """Who manages the replicas, which the workload has at `replicas`, as managers of its Scale."""
    fields = sets.of_paths(IN_SCALE)
    return {
        who: share._replace(fields=fields)
        for who, share in managers.items()
        if sets.has(share.fields, replicas)
    }


def to_parent(managers: Managers, scale: Managers, replicas: Path = IN_SCALE) -> Managers:
    """The workload's managers after its Scale was written."""
    own = sets.of_paths(replicas)
    result: Managers = {}
    for who, share in managers.items():
        lost = who not in scale and sets.has(share.fields, replicas)
        fields = sets.difference(share.fields, own) if lost else share.fields
        if fields:
            result[who] = share._replace(fields=fields)
    for who, share in scale.items():
        if not sets.has(share.fields, IN_SCALE):
            continue
        before = result.get(who)
        fields = sets.union(before.fields, own) if before else own
        result[who] = Share(fields, share.api_version, share.time)
    return result
