"""All rows of the table that are said in this package."""

from __future__ import annotations

from apiserver.registry.kinds import apps, batch, claims, core, policy
from apiserver.registry.resource import Resource

ROWS: tuple[Resource, ...] = (
    *core.ROWS,
    *claims.ROWS,
    *apps.ROWS,
    *batch.ROWS,
    *policy.ROWS,
)
