"""What a Deployment's strategy allows: how many Pods too many, how many too few.

Source: Kubernetes documentation, "Deployments, Rolling Update Deployment"; API reference,
RollingUpdateDeployment (rounding: surge up, unavailability down).
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.controllers.share import share_of
from kubraft.api.object import Object

_DEFAULT_SHARE = "25%"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers of Pods between which a roll-out moves."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def pods_max(self) -> int:
        """The most Pods at any moment, inclusive."""
        return self.replicas + self.surge

    @property
    def available_min(self) -> int:
        """The fewest available Pods at any moment, inclusive."""
        return self.replicas - self.unavailable


def bounds_of(deployment: Object) -> Bounds:
    """The bounds of `deployment`; none to move in where the strategy is Recreate."""
    replicas = replicas_of(deployment)
    if not is_rolling_update(deployment):
        return Bounds(replicas, 0, 0)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = share_of(rolling.get("maxSurge", _DEFAULT_SHARE), replicas)
    unavailable = share_of(rolling.get("maxUnavailable", _DEFAULT_SHARE), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        # Both rounded to nothing would never move: then one may be missing, as upstream.
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def replicas_of(obj: Object) -> int:
    """`spec.replicas`, 1 where absent."""
    count: int | None = obj["spec"].get("replicas")
    return 1 if count is None else count


def is_rolling_update(deployment: Object) -> bool:
    """Whether Pods are replaced step by step; Recreate ends all old ones first."""
    strategy = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")
