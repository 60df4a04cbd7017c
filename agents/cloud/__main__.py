"""The cloud controller manager: `python -m agents.cloud`."""

from __future__ import annotations

from agents.cloud import manager
from agents.cloud.local.provider import LocalProvider
from agents.cloud.provider import CloudContext, find_factory
from kubraft.agent_main import (
    Agent,
    add_leader_election_flags,
    agent_parser,
    exit_agent,
    run_agent,
)


async def control_cloud(agent: Agent) -> None:
    """Make the provider, and control until cancelled."""
    given = agent.arguments
    factory = find_factory(given.cloud_provider, {"local": LocalProvider})
    await manager.run(agent, factory(CloudContext(given.cloud_config, agent.clock)))


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("cloud", "Machines, load balancers: what the cluster's place provides.")
    add_leader_election_flags(parser)
    parser.add_argument("--cloud-provider", required=True, help="local, or one that is installed")
    parser.add_argument("--cloud-config", default="", help="the provider's own file")
    return run_agent("cloud-controller-manager", control_cloud, parser)


if __name__ == "__main__":
    exit_agent(main())
