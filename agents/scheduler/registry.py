"""The plugins there are, by name, and the profile that is used where nobody configured one.

Source: kube-scheduler's default plugins and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from agents.scheduler.configuration import ProfileSpec, configuration
from agents.scheduler.framework import Plugin, Weighted
from agents.scheduler.handle import Handle
from agents.scheduler.plugins.image_locality import ImageLocality
from agents.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from agents.scheduler.plugins.placement import NodeAffinity, NodeName, NodePorts
from agents.scheduler.plugins.preemption import DefaultPreemption
from agents.scheduler.plugins.queueing import PrioritySort, SchedulingGates
from agents.scheduler.plugins.resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from agents.scheduler.plugins.spread import PodTopologySpread
from agents.scheduler.plugins.taints import NodeUnschedulable, TaintToleration
from agents.scheduler.plugins.volume_binder import VolumeBinding
from agents.scheduler.plugins.volumes import VolumeRestrictions, VolumeZone, store_of
from agents.scheduler.profile import Profile, profile_of

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
    "VolumeRestrictions": lambda _, handle: VolumeRestrictions(store_of(handle)),
    "VolumeBinding": VolumeBinding,
    "VolumeZone": lambda _, handle: VolumeZone(store_of(handle)),
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
    "VolumeRestrictions": 0,
    "VolumeBinding": 0,
    "VolumeZone": 0,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DefaultPreemption": 0,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


ENTRY_POINT_GROUP = "kubraft.scheduler_plugins"


class PluginError(ValueError):
    """A plugin cannot be made; the message names it and the cause."""


def profiles(wanted: Sequence[ProfileSpec], handle: Handle) -> list[Profile]:
    """The profiles with all their plugins.

    Raises:
        PluginError: there is no such plugin, or its arguments are wrong.
        ValueError: a profile does not sort the queue, or otherwise than another one does.
    """
    made = [_profile(each, handle) for each in wanted]
    names = [profile.queue_sort.name for profile in made]
    args = [each.args.get(name, {}) for each, name in zip(wanted, names, strict=True)]
    if any(name != names[0] for name in names) or any(each != args[0] for each in args):
        raise ValueError("profiles: different queue sort plugins for profiles")
    return made


def _profile(wanted: ProfileSpec, handle: Handle) -> Profile:
    names = dict.fromkeys(name for point in wanted.points.values() for name, _ in point)
    for name in wanted.args:
        if name not in names and name not in PLUGINS:
            raise PluginError(f"plugin {name}: has arguments, but is enabled nowhere")
    made = {name: _plugin(name, wanted.args.get(name, {}), handle) for name in names}
    return profile_of(
        {
            point: [Weighted(made[name], weight) for name, weight in enabled]
            for point, enabled in wanted.points.items()
        },
        wanted.scheduler_name,
        wanted.percentage_of_nodes_to_score,
    )


def _plugin(name: str, args: Mapping[str, Any], handle: Handle) -> Plugin:
    """Make one of ours, or one that an installed package names in its entry points."""
    try:
        plugin = _factory(name)(args, handle)
    except PluginError:
        raise
    except Exception as error:
        cause = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise PluginError(f"plugin {name}: {cause}") from error
    if not isinstance(plugin, Plugin):
        raise PluginError(f"plugin {name}: its factory made a {type(plugin).__name__}, no Plugin")
    plugin.name = name
    return plugin


def _factory(name: str) -> Factory:
    if name in PLUGINS:
        return PLUGINS[name]
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not found:
        raise PluginError(f"plugin {name}: no such plugin here, and no installed package has it")
    factory: Factory = min(found, key=lambda point: point.value).load()
    return factory


def default_profile(handle: Handle) -> Profile:
    """The plugins for Pods of "default-scheduler"."""
    wanted = configuration({}, tuple(DEFAULT_WEIGHTS.items()))
    return profiles(wanted.profiles, handle)[0]
