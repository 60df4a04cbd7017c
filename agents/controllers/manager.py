"""One term of the controller manager: caches from the start, control while the Lease is held."""

from __future__ import annotations

import asyncio

from agents.controllers.context import Context
from agents.controllers.discovery import Discovery
from agents.controllers.informers import Informers
from agents.controllers.options import Options
from agents.controllers.table import enabled
from kubraft.agent_main import Agent, first_cause
from kubraft.api.errors import ServiceUnavailableError
from kubraft.client.leader_election import LeadershipLostError

LEASE_NAME = "kube-controller-manager"
_RETRY_S = 1.0


async def run(agent: Agent, options: Options) -> None:
    """Be a candidate, control while elected, and begin anew after a loss; until cancelled.

    Nothing is carried over from one term to the next: caches, expectations and queues start empty.
    """
    is_first = True
    while True:
        try:
            await _term(agent, options, say_ready=is_first)
        except* LeadershipLostError as lost:
            agent.log.warning("leadership_lost", cause=str(first_cause(lost)))
        is_first = False


async def _term(agent: Agent, options: Options, *, say_ready: bool) -> None:
    """Fill the caches, wait for the Lease, control until it is lost."""
    elector = agent.elector(LEASE_NAME)
    informers = Informers(agent.client, agent.clock)
    context = Context(
        client=agent.client.fenced(elector.fence),
        informers=informers,
        discovery=Discovery(agent.client, informers, agent.clock),
        options=options,
        clock=agent.clock,
        rng=agent.rng,
    )
    controllers = [row.build(context) for row in enabled(options)]

    async def control() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(context.discovery.run())
            for recorder in context.recorders:
                group.create_task(recorder.run())
            for controller in controllers:
                group.create_task(controller.run())

    await _discover(agent, context.discovery)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(informers.run())
        await informers.wait_synced()
        if say_ready:
            agent.ready(controllers=len(controllers))
        try:
            await elector.run(control)
        finally:
            following.cancel()


async def _discover(agent: Agent, discovery: Discovery) -> None:
    """Learn the kinds, as soon as the API server answers."""
    while True:
        try:
            await discovery.refresh()
        except ServiceUnavailableError as error:
            agent.log.info("waiting", cause=error.message)
            await agent.clock.sleep(_RETRY_S)
        else:
            return
