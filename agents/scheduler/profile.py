"""The default profile: which plugins decide, in which order, and how much each score counts.

Source: kube-scheduler's default plugins and weights.
"""

from __future__ import annotations

from agents.scheduler.framework import Profile, Weighted
from agents.scheduler.plugins.placement import NodeAffinity, NodeName, NodePorts
from agents.scheduler.plugins.resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from agents.scheduler.plugins.spread import PodTopologySpread
from agents.scheduler.plugins.taints import NodeUnschedulable, TaintToleration


def default_profile() -> Profile:
    """The plugins for Pods of "default-scheduler"."""
    taints, affinity = TaintToleration(), NodeAffinity()
    fit, spread = NodeResourcesFit(), PodTopologySpread()
    return Profile(
        filters=(NodeUnschedulable(), NodeName(), taints, affinity, NodePorts(), fit, spread),
        scores=(
            Weighted(taints, 3),
            Weighted(affinity, 2),
            Weighted(spread, 2),
            Weighted(fit, 1),
            Weighted(NodeResourcesBalancedAllocation(), 1),
        ),
    )
