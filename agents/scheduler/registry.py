"""The plugins there are, by name, and the profile that is used where nobody configured one.

Source: kube-scheduler's default plugins and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.scheduler.framework import Plugin
from agents.scheduler.handle import Handle
from agents.scheduler.plugins.image_locality import ImageLocality
from agents.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from agents.scheduler.plugins.placement import NodeAffinity, NodeName, NodePorts
from agents.scheduler.plugins.preemption import DefaultPreemption
from agents.scheduler.plugins.queueing import PrioritySort, SchedulingGates
from agents.scheduler.plugins.resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from agents.scheduler.plugins.spread import PodTopologySpread
from agents.scheduler.plugins.taints import NodeUnschedulable, TaintToleration
from agents.scheduler.profile import Enabled, Profile, profile_of

# Makes a plugin from its arguments in the configuration; raises ValueError where they are wrong.
Factory = Callable[[Mapping[str, Any], Handle], Plugin]


def _plain(made: Callable[[], Plugin]) -> Factory:
    """The factory of a plugin without arguments."""
    return lambda _args, _handle: made()


PLUGINS: Mapping[str, Factory] = {
    "SchedulingGates": _plain(SchedulingGates),
    "PrioritySort": _plain(PrioritySort),
    "NodeUnschedulable": _plain(NodeUnschedulable),
    "NodeName": _plain(NodeName),
    "TaintToleration": _plain(TaintToleration),
    "NodeAffinity": _plain(NodeAffinity),
    "NodePorts": _plain(NodePorts),
    "NodeResourcesFit": lambda args, _: NodeResourcesFit(args),
    "PodTopologySpread": lambda args, _: PodTopologySpread(args),
    "InterPodAffinity": InterPodAffinity,
    "DefaultPreemption": DefaultPreemption,
    "NodeResourcesBalancedAllocation": lambda args, _: NodeResourcesBalancedAllocation(args),
    "ImageLocality": _plain(ImageLocality),
}

# In the order in which they are asked.
DEFAULT_WEIGHTS: Mapping[str, float] = {
    "SchedulingGates": 0,
    "PrioritySort": 0,
    "NodeUnschedulable": 0,
    "NodeName": 0,
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodePorts": 0,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DefaultPreemption": 0,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


def default_profile(handle: Handle) -> Profile:
    """The plugins for Pods of "default-scheduler"."""
    return profile_of(
        Enabled(PLUGINS[name]({}, handle), weight=weight)
        for name, weight in DEFAULT_WEIGHTS.items()
    )
