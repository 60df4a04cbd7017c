"""`python -m agents.scheduler`: runs the scheduler; of several replicas one decides."""

from __future__ import annotations

import asyncio

from agents.scheduler.handle import Handle
from agents.scheduler.registry import default_profile
from agents.scheduler.scheduler import Scheduler
from kubraft.agent_main import (
    Agent,
    add_leader_election_flags,
    agent_parser,
    exit_agent,
    run_agent,
)
from kubraft.client.events import EventRecorder
from kubraft.health.secure_port import add_secure_port_flags, secure_port

LEASE_NAME = "kube-scheduler"
COMPONENT = "default-scheduler"


async def schedule_pods(agent: Agent) -> None:
    """Follow the cluster; decide while this process holds the Lease."""
    elector = agent.elector(LEASE_NAME)
    recorder = EventRecorder(agent.client, COMPONENT, clock=agent.clock)
    handle = Handle(agent.client.fenced(elector.fence), agent.clock, agent.rng)
    scheduler = Scheduler(handle, profiles=[default_profile(handle)], recorder=recorder)
    async with secure_port(agent), asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        group.create_task(scheduler.follow())
        await scheduler.wait_synced()
        agent.ready()
        await elector.run(scheduler.run)


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("scheduler", "Gives each Pod that has none a node.")
    add_leader_election_flags(parser)
    add_secure_port_flags(parser)
    return run_agent("scheduler", schedule_pods, parser)


if __name__ == "__main__":
    exit_agent(main())
