"""`python -m agents.scheduler`: runs the scheduler; of several replicas one decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agents.scheduler.configuration import configuration
from agents.scheduler.handle import Handle
from agents.scheduler.registry import DEFAULT_WEIGHTS, profiles
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


async def schedule_pods(agent: Agent) -> None:
    """Follow the cluster; decide while this process holds the Lease."""
    elector = agent.elector(LEASE_NAME)
    handle = Handle(agent.client.fenced(elector.fence), agent.clock, agent.rng)
    wanted = configuration(_read(agent.arguments.config), tuple(DEFAULT_WEIGHTS.items()))
    recorders = {
        profile.scheduler_name: EventRecorder(
            agent.client, profile.scheduler_name, clock=agent.clock
        )
        for profile in wanted.profiles
    }
    scheduler = Scheduler(
        handle,
        profiles=profiles(wanted.profiles, handle),
        recorders=recorders,
        backoff_s_min=wanted.backoff_s_min,
        backoff_s_max=wanted.backoff_s_max,
    )
    async with secure_port(agent, scheduler.figures), asyncio.TaskGroup() as group:
        for recorder in recorders.values():
            group.create_task(recorder.run())
        group.create_task(scheduler.follow())
        await scheduler.wait_synced()
        agent.ready()
        await elector.run(scheduler.run)


def _read(path: str) -> dict[str, Any]:
    """The configuration file, an empty one where none is named.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML object.
    """
    if not path:
        return {}
    import yaml  # noqa: PLC0415 - slow to import and rarely needed

    try:
        given = yaml.safe_load(Path(path).read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path}: must be an object")  # noqa: TRY004 - what it says, not code
    return given


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("scheduler", "Gives each Pod that has none a node.")
    parser.add_argument("--config", default="", help="file with a KubeSchedulerConfiguration")
    add_leader_election_flags(parser)
    add_secure_port_flags(parser)
    return run_agent("scheduler", schedule_pods, parser)


if __name__ == "__main__":
    exit_agent(main())
