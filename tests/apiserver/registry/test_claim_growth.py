"""A bound claim's request grows, and never below what it has."""

from __future__ import annotations

import pytest

from apiserver.registry.kinds.claims import ROWS
from kubraft.api.object import Object
from tests.apiserver.objects import namespaced

CLAIMS = next(row for row in ROWS if row.gvk.kind == "PersistentVolumeClaim")


def claim(size: str, **metadata: object) -> Object:
    """Bound to a volume of 5Gi, that a request for 2Gi got."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    status = {"phase": "Bound", "capacity": {"storage": "5Gi"}}
    return {**namespaced("PersistentVolumeClaim", "data", spec=spec, metadata=metadata),
            "status": status}  # fmt: skip


@pytest.mark.parametrize(
    ("new", "refused"),
    [
        pytest.param(claim("2Gi", labels={"a": "b"}), False, id="as much as before"),
        pytest.param(claim("9Gi"), False, id="more"),
        pytest.param(claim("1Gi"), True, id="less"),
    ],
)
def test_what_a_bound_claim_may_ask_for(new: Object, refused: bool) -> None:
    causes = CLAIMS.strategy.validate_update(new, claim("2Gi"))
    texts = [cause.message for cause in causes]
    assert ("Forbidden: field can not be less than status.capacity" in texts) == refused, texts
