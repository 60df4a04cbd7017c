"""The process of hollow nodes put together."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from pathlib import Path
from typing import Any

from agents.node.hollow.behaviour import Defaults
from agents.node.hollow.fleet import NODES_MAX, Capacity, machines
from agents.node.hollow.heartbeat import Heartbeat
from agents.node.hollow.logs import HollowLogs
from agents.node.hollow.node import HollowNode, Shared
from agents.node.hollow.parts import ThrottledRecorder
from agents.node.https_front import Asked, HttpsFront, RefusedError, Route, healthz
from agents.node.https_server import Address, listening
from agents.node.log_route import log_route
from agents.node.pod_view import PodView
from agents.node.registration import Periods
from kubraft.agent_main import Agent
from kubraft.api.gvk import NODE, POD
from kubraft.api.hollow import LABEL
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.pods import node_of
from kubraft.client.controller import Controller
from kubraft.client.informer import Informer
from kubraft.grpc_server.server import GrpcServer
from kubraft.pb.v1 import node_pb2_grpc

_WORKERS = 32
_METHODS = frozenset(("GET", "POST"))
_Key = tuple[str, str]  # node, uid


class HollowNodes:
    """One watch of Pods, one queue and one heartbeat for all nodes."""

    def __init__(self, agent: Agent) -> None:
        given = agent.arguments
        self._agent = agent
        self._given = given
        self._recorder = ThrottledRecorder(
            agent.client,
            "kubelet",
            host=given.identity,
            clock=agent.clock,
            per_second=given.event_qps,
        )
        self._controller: Controller[_Key] = Controller(
            "hollow.pods", self._reconcile, workers=_WORKERS, clock=agent.clock
        )
        self._pods = Informer(
            agent.client,
            POD,
            field_selector="spec.nodeName!=",
            indexers={"uid": lambda pod: [uid_of(pod)]},
        )
        self._seen = Informer(agent.client, NODE, label_selector=f"{LABEL}=true")
        self._nodes: dict[str, HollowNode] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        given, agent = self._given, self._agent
        server = self._listen()
        self._nodes = {node.name: node for node in self._make()}
        self._pods.add_handler(self._on_pod)
        self._seen.add_handler(self._on_node)
        beat = Heartbeat(
            list(self._nodes.values()),
            agent.clock,
            period_s=given.node_lease_duration / 4,
            report_s=given.node_status_report_frequency,
        )
        await server.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._recorder.run())
                group.create_task(self._seen.run())
                await self._seen.wait_synced()
                await beat.register_all()
                group.create_task(beat.run())
                group.create_task(self._pods.run())
                await self._pods.wait_synced()
                group.create_task(self._controller.run())
                agent.ready(nodes=len(self._nodes), port=given.port)
        finally:
            await server.stop(0.0)

    def _make(self) -> list[HollowNode]:
        given, agent = self._given, self._agent
        root: Path = given.root_dir.resolve()
        shared = Shared(
            client=agent.client,
            clock=agent.clock,
            recorder=self._recorder,
            root=root,
            defaults=Defaults(given.pod_start_delay, given.pod_ready_delay, given.job_duration),
            periods=Periods(
                lease_duration_s=max(1, round(given.node_lease_duration)),
                status_report_s=given.node_status_report_frequency,
            ),
            backoff_s=(given.restart_backoff_base, given.restart_backoff_max),
            find_pod=self._find_pod,
            again=lambda node, uid: self._controller.queue.add((node, uid)),
            new_id=lambda: secrets.token_hex(16),
        )
        made = machines(
            given.name_prefix,
            given.nodes,
            Capacity(given.cpu, given.memory, given.max_pods),
            host_ip=given.node_ip,
            port=given.port,
            zones=given.zones,
            taint=given.taint,
        )
        return [HollowNode(machine, shared) for machine in made]

    # What happens

    async def _reconcile(self, key: _Key) -> float | None:
        node = self._nodes[key[0]]
        return None if node.is_gone else await node.reconcile(key[1])

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and node_of(pod) in self._nodes:
                self._controller.queue.add((node_of(pod), uid_of(pod)))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        name = key_of(new or old or {}).name
        if (node := self._nodes.get(name)) is not None:
            was_gone = node.is_gone
            node.on_node(new)
            if was_gone and new is not None:
                for pod in self._pods.list():
                    self._on_pod(None, pod)

    def _find_pod(self, uid: str) -> Object | None:
        found = self._pods.by_index("uid", uid)
        return found[0] if found else None

    # The port

    def _listen(self) -> GrpcServer:
        given = self._given
        logs = HollowLogs(self._pods.get, self._view, self._agent.clock, given.root_dir)
        refused = {name: Route(_refuse, _METHODS) for name in ("exec", "attach", "portForward")}
        routes = {
            "healthz": Route(healthz),
            "containerLogs": log_route(logs.read, self._agent.clock),
            **refused,
        }
        address = Address(
            given.node_ip,
            given.port,
            given.tls_cert_file,
            given.tls_private_key_file,
            given.client_ca_file,
        )
        server, given.port = listening(address, HttpsFront(routes).handle)
        grpc_server: Any = server  # takes handlers as grpc.aio's does
        node_pb2_grpc.add_NodeAgentServicer_to_server(logs, grpc_server)
        return server

    async def _view(self, uid: str) -> PodView:
        pod = self._find_pod(uid)
        node = self._nodes.get(node_of(pod)) if pod else None
        return await node.runtime.view(uid) if node else PodView()


async def _refuse(asked: Asked) -> None:
    del asked
    raise RefusedError(501, "this Pod is on a hollow node: no program runs in its containers")


async def run_hollow(agent: Agent) -> None:
    """The process's main function."""
    await HollowNodes(agent).run()


def add_flags(parser: argparse.ArgumentParser, duration: Any) -> None:
    """The flags of hollow nodes."""
    add = parser.add_argument
    add("--nodes", type=_count, required=True, help=f"how many, to {NODES_MAX}")
    add("--name-prefix", default="hollow-node-", help="of the Nodes' names (%(default)s)")
    add("--root-dir", required=True, type=Path, help="nothing is kept there; paths are below it")
    add("--port", type=int, default=10250, help="where the API server asks for logs (%(default)s)")
    add("--tls-cert-file", required=True, type=Path, help="certificate of that port")
    add("--tls-private-key-file", required=True, type=Path, help="its key")
    add("--client-ca-file", required=True, type=Path, help="CA of who may ask")
    add("--node-ip", default="127.0.0.1", help="all nodes' address (%(default)s)")
    group = parser.add_argument_group("the nodes")
    group.add_argument("--cpu", type=int, default=32, help="(%(default)s)")
    group.add_argument("--memory", default="256Gi", help="(%(default)s)")
    group.add_argument("--max-pods", type=int, default=110, help="(%(default)s)")
    group.add_argument("--zones", type=int, default=0, help="label nodes with so many zones")
    group.add_argument(
        "--taint",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"register with the taint {LABEL}=true:NoSchedule",
    )
    group = parser.add_argument_group("what Pods do that do not say")
    group.add_argument("--pod-start-delay", type=duration, default=0.0, help="0s")
    group.add_argument("--pod-ready-delay", type=duration, default=0.0, help="0s")
    group.add_argument("--job-duration", type=duration, default=1.0, help="1s")
    group = parser.add_argument_group("periods")
    group.add_argument("--node-lease-duration", type=duration, default=40.0, help="40s")
    group.add_argument("--node-status-report-frequency", type=duration, default=300.0, help="5m")
    group.add_argument("--restart-backoff-base", type=duration, default=10.0, help="10s")
    group.add_argument("--restart-backoff-max", type=duration, default=300.0, help="5m")
    group.add_argument("--event-qps", type=float, default=10.0, help="of all nodes (%(default)s)")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= NODES_MAX:
        raise ValueError(f"--nodes: {count} is not 1 to {NODES_MAX}")
    return count
