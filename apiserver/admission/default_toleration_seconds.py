"""DefaultTolerationSeconds: how long a Pod stays on a node that is not ready or unreachable.

Source: upstream's plugin of that name; Kubernetes documentation, "Taint based Evictions".
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest

TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Plugin):
    """Adds to new Pods the tolerations that they lack."""

    name = "DefaultTolerationSeconds"

    def __init__(self, toleration_s: int) -> None:
        self._toleration_s = toleration_s

    def handles(self, request: AdmissionRequest) -> bool:
        return request.creates_pod

    async def mutate(self, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec")
        if not isinstance(spec, dict):
            return  # validation says so
        tolerations = list(spec.get("tolerations") or ())
        missing = [taint for taint in TAINTS if not any(_tolerates(t, taint) for t in tolerations)]
        if missing:
            spec["tolerations"] = [*tolerations, *map(self._toleration, missing)]

    def _toleration(self, taint: str) -> dict[str, Any]:
        return {
            "key": taint,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": self._toleration_s,
        }


def _tolerates(toleration: dict[str, Any], taint: str) -> bool:
    """Whether the user has said something about eviction by this taint; values play no part."""
    return (toleration.get("key") or taint) == taint and toleration.get("effect") in (
        None,
        "",
        "NoExecute",
    )
