"""`python -m agents.dns`: the cluster's name server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import SystemRandom

from prometheus_client import disable_created_metrics

from agents.dns.catalog import WatchedCatalog
from agents.dns.forwarder import Forwarder
from agents.dns.http_front import HttpFront
from agents.dns.metrics import Metrics
from agents.dns.names import labels_of_name
from agents.dns.registration import KEY, METRICS_PORT, Registration, endpoint_slice, service
from agents.dns.resolv_conf import ResolvConf
from agents.dns.resolver import Resolver
from agents.dns.server import NameServer
from agents.dns.zone import TTL_S, Zone
from kubraft.agent_main import Agent, agent_parser, exit_agent, run_agent
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer

_STOP_GRACE_S = 0.5


async def serve_names(agent: Agent) -> None:
    """Follow the cluster, answer, and be found, until cancelled."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    given = agent.arguments
    catalog = WatchedCatalog(agent.client, agent.clock)
    own = {given.bind_address, given.cluster_ip}
    rng = SystemRandom()
    forwarder = Forwarder(ResolvConf(given.resolv_conf, own).servers, agent.clock, rng)

    def addresses() -> tuple[str, ...]:
        found = catalog.find_service(*KEY)
        return tuple(found["spec"].get("clusterIPs") or ()) if found else (given.cluster_ip,)

    zone = Zone(catalog, domain=given.cluster_domain, addresses=addresses, ttl_s=given.ttl)
    metrics = Metrics(labels_of_name(given.cluster_domain), forwarder)
    server = NameServer(Resolver(zone, forwarder, rng), agent.clock, metrics)
    http = GrpcServer(Limits(), http=HttpFront(lambda: catalog.synced, metrics.text).handle)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(catalog.follow())
            await catalog.wait_synced()
            port = await server.start(given.bind_address, given.port)
            metrics_port = http.listen(given.bind_address, given.http_port, None)
            await http.start()
            wanted = (
                service(given.cluster_ip),
                endpoint_slice(given.bind_address, port, metrics_port),
            )
            registration = Registration(agent.client, agent.clock, agent.rng, wanted)
            catalog.services.add_handler(registration.on_change)
            catalog.slices.add_handler(registration.on_change)
            agent.ready(address=given.bind_address, port=port)
            group.create_task(registration.run())
    finally:
        await server.close()
        await forwarder.close()
        await http.stop(_STOP_GRACE_S)


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("dns", "Answers for the names of Services and Pods.")
    add = parser.add_argument
    add("--bind-address", default="127.64.63.53", help="default: %(default)s")
    add("--port", type=int, default=1053, help="of datagrams and streams; default: %(default)s")
    add("--http-port", type=int, default=METRICS_PORT, help="/metrics, /health, /ready")
    add("--cluster-domain", default="cluster.local", help="default: %(default)s")
    add("--cluster-ip", required=True, help="the address of the Service kube-dns")
    add("--ttl", type=int, default=TTL_S, help="seconds that answers may be kept")
    add("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"), help="of the host")
    return run_agent("dns", serve_names, parser)


if __name__ == "__main__":
    exit_agent(main())
