"""The cloud controller manager: `python -m agents.cloud`."""

from __future__ import annotations

from agents.cloud import manager
from agents.cloud.local.provider import LocalProvider
from agents.cloud.options import options_of, parser
from agents.cloud.provider import CloudContext, find_factory
from kubraft.agent_main import Agent, exit_agent, run_agent
from kubraft.health.secure_port import secure_port


async def control_cloud(agent: Agent) -> None:
    """Make the provider, and control until cancelled."""
    given = agent.arguments
    options = options_of(given)
    factory = find_factory(given.cloud_provider, {"local": LocalProvider})
    provider = factory(CloudContext(given.cloud_config, agent.clock))
    async with secure_port(agent):
        await manager.run(agent, provider, options)


if __name__ == "__main__":
    exit_agent(run_agent("cloud-controller-manager", control_cloud, parser()))
