"""Gives running containers the CPU and memory that their Pod was allocated."""

from __future__ import annotations

from agents.node.allocation import Allocation, differs, must_restart, resources_of
from agents.node.cri_client import RuntimeCallError
from agents.node.cri_config import linux_resources
from agents.node.plan import Unhealthy, container_spec
from agents.node.pod_parts import PodRuntime
from agents.node.pod_view import PodView
from kubraft.api.object import Object


async def actuate(
    runtime: PodRuntime, pod: Object, allocation: Allocation, view: PodView
) -> dict[str, Unhealthy]:
    """Change the limits of running containers; returns those that take a restart, by id.

    Args:
        runtime: is told of the limits.
        pod: as this node runs it (`with_allocation`).
        allocation: is brought up to date.
        view: the runtime's picture.
    """
    restarts = {}
    allocation.error = ""
    for life in view.running:
        try:
            container = container_spec(pod, life.name)
        except KeyError:
            continue
        actual = allocation.actual.setdefault(life.id, resources_of(container))
        if not differs(container, actual):
            continue
        if must_restart(container, actual):
            message = f"Container {life.name} resize requires restart"
            restarts[life.id] = Unhealthy(message, exact=True)
            continue
        try:
            await runtime.update_resources(life.id, linux_resources(pod, container))
        except RuntimeCallError as error:
            if error.unavailable:
                raise
            allocation.error = error.details
        else:
            allocation.actual[life.id] = resources_of(container)
    return restarts
