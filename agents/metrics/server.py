"""The metrics server put together: what follows what, and in which order things begin."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from agents.metrics.front import Front
from agents.metrics.registration import objects, register
from agents.metrics.scraper import Scraper, Tls, measurable
from agents.metrics.storage import Storage
from kubraft.agent_main import Agent
from kubraft.api.gvk import NODE, POD
from kubraft.client.informer import Informer
from kubraft.delegated_auth import DelegatedAuth, FrontProxy
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.grpc_server.tls import serving_context

RESOLUTION_S: Final = 15.0
_STOP_GRACE_S: Final = 1.0


def add_flags(parser: argparse.ArgumentParser, duration: Any) -> None:
    """The metrics server's own flags; names are upstream's where it has them."""
    add = parser.add_argument
    add("--bind-address", default="127.0.0.1")
    add("--advertise-host", default="localhost", help="by which API servers reach it")
    add("--secure-port", type=int, default=4443)
    for name in ("--tls-cert-file", "--tls-private-key-file", "--client-ca-file"):
        add(name, type=Path, required=True, help="of the port, PEM")
    add("--requestheader-client-ca-file", type=Path, required=True, help="front proxies', PEM")
    add("--requestheader-allowed-names", default="", help="their names; any where empty")
    add("--metric-resolution", type=duration, default=RESOLUTION_S, help="between two rounds")


async def serve_metrics(agent: Agent) -> None:
    """Follow nodes and Pods, scrape, register and answer until cancelled."""
    given = agent.arguments
    nodes, pods = Informer(agent.client, NODE), Informer(agent.client, POD)
    storage = Storage(given.metric_resolution)
    tls = Tls(Path(given.ca_file), Path(given.cert_file), Path(given.key_file))
    scraper = Scraper(
        storage, lambda: measurable(nodes.list()), tls, agent.clock, given.metric_resolution
    )
    authority = x509.load_pem_x509_certificate(given.requestheader_client_ca_file.read_bytes())
    names = tuple(filter(None, given.requestheader_allowed_names.split(",")))
    auth = DelegatedAuth(agent.client, agent.clock, FrontProxy(authority, names))
    front = Front(
        storage,
        auth,
        nodes=nodes,
        pods=pods,
        now=agent.clock.now,
        is_ready=lambda: scraper.rounds > 0,
    )
    server = GrpcServer(Limits(), http=front.handle)
    authorities = (given.client_ca_file, given.requestheader_client_ca_file)
    tls_of_port = serving_context(given.tls_cert_file, given.tls_private_key_file, *authorities)
    port = server.listen(given.bind_address, given.secure_port, tls_of_port)
    await server.start()
    wanted = objects(given.advertise_host, port, given.client_ca_file.read_bytes())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(nodes.run())
            group.create_task(pods.run())
            await nodes.wait_synced()
            await pods.wait_synced()
            group.create_task(scraper.run())
            agent.ready(port=port)
            await register(agent.client, agent.clock, wanted)
    finally:
        await server.stop(_STOP_GRACE_S)
