"""The controller manager: `python -m agents.controllers`."""

from __future__ import annotations

from agents.controllers import manager
from agents.controllers.options import options_of, parser
from kubraft.agent_main import Agent, exit_agent, run_agent
from kubraft.health.secure_port import secure_port


async def main(agent: Agent) -> None:
    options = options_of(agent.arguments)
    async with secure_port(agent):
        await manager.run(agent, options)


if __name__ == "__main__":
    exit_agent(run_agent("controllers", main, parser()))
