"""The controller manager: `python -m agents.controllers`."""

from __future__ import annotations

from agents.controllers import manager
from agents.controllers.options import options_of, parser
from kubraft.agent_main import Agent, exit_agent, run_agent


async def main(agent: Agent) -> None:
    await manager.run(agent, options_of(agent.arguments))


if __name__ == "__main__":
    exit_agent(run_agent("controllers", main, parser()))
