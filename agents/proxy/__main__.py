"""`python -m agents.proxy`: runs the service proxy of a node, or of this machine's nodes."""

from __future__ import annotations

import argparse
import asyncio
import resource
from collections.abc import Iterable
from typing import Final

from agents.proxy.figures import Figures
from agents.proxy.health import ProxyHealth
from agents.proxy.http_servers import HttpPort, ServicePorts, figure_answers, health_answers
from agents.proxy.mode_choice import MODES, choose
from agents.proxy.nft_table import NftProgram, NftTable, why_not
from agents.proxy.nftables import SYNC_PERIOD_S, NftablesMode, Options
from agents.proxy.picture import Picture
from agents.proxy.proxy import Mode, Proxy
from agents.proxy.userspace import UserspaceMode
from kubraft.agent_main import Agent, agent_parser, duration_s, exit_agent, run_agent
from kubraft.client.events import EventRecorder

COMPONENT: Final = "kube-proxy"
_MASQUERADE_BIT: Final = 14
_MARK_BITS: Final = 32
# A connection has two descriptors; fronts and the proxy itself need some too.
_CONNECTIONS_MAX: Final = 65_536
_DESCRIPTORS_RESERVED: Final = 1_024


async def proxy_services(agent: Agent) -> None:
    """Follow Services and their endpoints; carry connections until cancelled."""
    given = agent.arguments
    if given.cleanup:
        await clean_up(agent)
        return
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    refusal = "" if given.proxy_mode == "userspace" else await why_not(NftProgram())
    recorder = EventRecorder(agent.client, COMPONENT, clock=agent.clock)
    picture = Picture(agent.client, agent.clock, given.hostname_override)
    figures, health = Figures(), ProxyHealth(agent.clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        group.create_task(picture.follow())
        await picture.wait_synced()
        choice = choose(given.proxy_mode, refusal, picture.services())
        agent.log.info("mode", mode=choice.mode, reason=choice.reason)
        mode: Mode
        if choice.mode == "nftables":
            mode = NftablesMode(agent.clock, figures, NftProgram(), options(given))
            group.create_task(picture.follow_networks())
            host = ""
        else:
            most = max(min(_CONNECTIONS_MAX, (descriptors - _DESCRIPTORS_RESERVED) // 2), 1)
            mode = UserspaceMode(agent.clock, recorder, figures, given.node_address, most)
            host = given.node_address
        health_ports = ServicePorts(health, host)
        proxy = Proxy(
            picture,
            mode,
            figures,
            health,
            health_ports=health_ports,
            clock=agent.clock,
            rng=agent.rng,
        )
        group.create_task(proxy.run())
        await proxy.wait_synced()
        await _listen(agent, given.healthz_bind_address, HttpPort(health_answers(health, figures)))
        answers = figure_answers(figures, lambda: mode.name)
        await _listen(agent, given.metrics_bind_address, HttpPort(answers))
        agent.ready(mode=mode.name)


async def clean_up(agent: Agent) -> None:
    """Delete the tables that the nftables mode made; connections that are there go on."""
    for family in ("IPv4", "IPv6"):
        await NftTable(family, NftProgram()).remove()
    agent.log.info("cleaned_up")


async def _listen(agent: Agent, address: str, port: HttpPort) -> None:
    """As upstream, a proxy whose own port is taken does its work all the same."""
    if not address:
        return
    host, _, number = address.rpartition(":")
    try:
        await port.start(host.strip("[]"), int(number))
    except OSError as error:
        agent.log.warning("not_listening", address=address, cause=error.strerror or str(error))


def options(given: argparse.Namespace) -> Options:
    """What the flags say of the rules."""
    node_ports: tuple[str, ...] | None = _words(given.nodeport_addresses)
    if node_ports == ("primary",):
        node_ports = None
    prefix = given.pod_interface_name_prefix
    return Options(
        pods=_words(given.cluster_cidr),
        bridge=given.pod_bridge_interface or (f"{prefix}*" if prefix else ""),
        masquerade_bit=given.masquerade_bit,
        masquerade_all=given.masquerade_all,
        node_port_addresses=node_ports,
        sync_period_s=given.sync_period,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in text.split(","))))


def _bit(text: str) -> int:
    bit = int(text)
    if not 0 <= bit < _MARK_BITS:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 and {_MARK_BITS - 1}")
    return bit


def _add_flags(parser: argparse.ArgumentParser) -> None:
    """Names are kube-proxy's where it has them."""
    add = parser.add_argument
    add("--proxy-mode", choices=MODES, default="auto", help="default: %(default)s")
    add("--hostname-override", default="", help="the node; all nodes are here where it is empty")
    add("--node-address", default="127.0.0.1", help="where node ports listen in user space")
    add("--healthz-bind-address", default="0.0.0.0:10256", help="empty: no such port")
    add("--metrics-bind-address", default="127.0.0.1:10249", help="empty: no such port")
    group = parser.add_argument_group("nftables")
    add = group.add_argument
    add("--cluster-cidr", default="", help="networks of Pods, with commas between")
    add("--pod-bridge-interface", default="", help="that Pods' packets come from")
    add("--pod-interface-name-prefix", default="", help="of interfaces they come from")
    add("--masquerade-all", action="store_true", help="all that goes to Services' own addresses")
    add("--masquerade-bit", type=_bit, default=_MASQUERADE_BIT, help="of the packet mark")
    add("--nodeport-addresses", default="primary", help="networks; empty: all but loopback")
    add("--sync-period", type=duration_s, default=SYNC_PERIOD_S, help="looks after its table")
    add("--cleanup", action="store_true", help="delete the tables of nftables mode, and end")


def main(argv: Iterable[str] | None = None) -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("proxy", "Leads connections to Services' addresses to their Pods.")
    _add_flags(parser)
    return run_agent("proxy", proxy_services, parser, None if argv is None else list(argv))


if __name__ == "__main__":
    exit_agent(main())
