"""`python -m agents.proxy`: runs the service proxy of this machine."""

from __future__ import annotations

import asyncio
import resource

from agents.proxy.proxy import Proxy
from kubraft.agent_main import Agent, agent_parser, exit_agent, run_agent
from kubraft.client.events import EventRecorder

COMPONENT = "kube-proxy"


async def proxy_services(agent: Agent) -> None:
    """Follow Services and their endpoints; carry connections until cancelled."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two for each connection
    recorder = EventRecorder(agent.client, COMPONENT, clock=agent.clock)
    proxy = Proxy(agent.client, recorder, agent.clock, agent.arguments.node_address)
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        group.create_task(proxy.follow())
        await proxy.wait_synced()
        agent.ready()
        group.create_task(proxy.run())


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("proxy", "Leads connections to Services' addresses to their Pods.")
    parser.add_argument(
        "--node-address", default="127.0.0.1", help="where node ports listen; default: %(default)s"
    )
    return run_agent("proxy", proxy_services, parser)


if __name__ == "__main__":
    exit_agent(main())
