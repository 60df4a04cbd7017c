"""One term of the cloud controller manager: control while the Lease is held."""

from __future__ import annotations

import asyncio

from agents.cloud.fenced import FencedLoadBalancers, FencedRoutes
from agents.cloud.node_controller import NodeController
from agents.cloud.options import Options
from agents.cloud.provider import CloudProvider
from agents.cloud.route_controller import RouteController
from agents.cloud.service_controller import ServiceController
from kubraft.agent_main import Agent, first_cause
from kubraft.api.gvk import NODE, SERVICE
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.client.leader_election import LeadershipLostError

LEASE_NAME = "cloud-controller-manager"


async def run(agent: Agent, provider: CloudProvider, options: Options) -> None:
    """Be a candidate, control while elected, and begin anew after a loss; until cancelled."""
    is_first = True
    while True:
        try:
            await _term(agent, provider, options, say_ready=is_first)
        except* LeadershipLostError as lost:
            agent.log.warning("leadership_lost", cause=str(first_cause(lost)))
        is_first = False


async def _term(
    agent: Agent, provider: CloudProvider, options: Options, *, say_ready: bool
) -> None:
    elector = agent.elector(LEASE_NAME)
    client = agent.client.fenced(elector.fence)
    nodes = Informer(agent.client, NODE, clock=agent.clock)
    services = Informer(agent.client, SERVICE, clock=agent.clock)
    recorders: list[EventRecorder] = []
    controllers: list[NodeController | ServiceController | RouteController] = []

    def recorder(component: str) -> EventRecorder:
        recorders.append(EventRecorder(client, component, clock=agent.clock))
        return recorders[-1]

    if provider.instances is not None:
        events = recorder("cloud-node-controller")
        controllers.append(
            NodeController(
                client,
                nodes,
                provider.instances,
                events,
                agent.clock,
                addresses_s=options.addresses_period_s,
            )
        )
    if provider.load_balancers is not None:
        events = recorder("service-controller")
        balancers = FencedLoadBalancers(provider.load_balancers, elector.fence)
        controllers.append(
            ServiceController(client, services, nodes, balancers, events, clock=agent.clock)
        )

    if options.route_ranges and provider.routes is None:
        agent.log.warning("no_routes", provider=provider.name)
    elif provider.routes is not None and options.route_ranges:
        controllers.append(
            RouteController(
                client,
                nodes,
                FencedRoutes(provider.routes, elector.fence),
                recorder("route_controller"),
                agent.clock,
                ranges=options.route_ranges,
                period_s=options.route_period_s,
            )
        )

    async def control() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(provider.run())
            for each in (*recorders, *controllers):
                group.create_task(each.run())

    async with asyncio.TaskGroup() as group:
        following = [group.create_task(informer.run()) for informer in (nodes, services)]
        for informer in (nodes, services):
            await informer.wait_synced()
        if say_ready:
            agent.ready(provider=provider.name)
        try:
            await elector.run(control)
        finally:
            for task in following:
                task.cancel()
