"""All rows of the table that are said in this package."""

from __future__ import annotations

from apiserver.registry.kinds import (
    apiregistration,
    apps,
    autoscaling,
    batch,
    certificates,
    claims,
    core,
    devices,
    events,
    flowcontrol,
    ingress,
    networking,
    node,
    policy,
    storage,
)
from apiserver.registry.resource import Resource

ROWS: tuple[Resource, ...] = (
    *apiregistration.ROWS,
    *core.ROWS,
    *claims.ROWS,
    *apps.ROWS,
    *batch.ROWS,
    *autoscaling.ROWS,
    *policy.ROWS,
    *ingress.ROWS,
    *networking.ROWS,
    *storage.ROWS,
    *node.ROWS,
    *flowcontrol.ROWS,
    *devices.ROWS,
    *events.ROWS,
    *certificates.ROWS,
)
