"""The node agent put together: who is given what, and in which order things begin."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.node.api_volumes import ApiVolumes
from agents.node.claim_volumes import ClaimVolumes
from agents.node.container_start import ContainerStarter
from agents.node.cri_client import CriClient, RuntimeCallError
from agents.node.dns import ClusterDns
from agents.node.eviction import HARD_DEFAULT, Pressure, parse_thresholds
from agents.node.evictor import Evictor
from agents.node.fetched_objects import FetchedObjects
from agents.node.fields import Place
from agents.node.https_front import HttpsFront, Route, healthz
from agents.node.https_server import Address, listening
from agents.node.lifecycle_events import LifecycleEvents
from agents.node.local_volumes import LocalVolumes
from agents.node.log_rotation import LogRotation
from agents.node.log_route import log_route
from agents.node.log_service import NodeAgentService
from agents.node.machine import measure_machine, measure_usage
from agents.node.node_admission import refusal
from agents.node.node_object import Machine, Usage, allocatable
from agents.node.plan import Waiting
from agents.node.pod_identity import PodIdentity
from agents.node.pod_stopper import PodStopper
from agents.node.pod_streams import PodStreams
from agents.node.pod_sync import PodSync
from agents.node.post_start import PostStartHooks
from agents.node.probe_handlers import Execute
from agents.node.prober import Prober
from agents.node.registration import Periods, Registration
from agents.node.runtime_health import RuntimeHealth
from agents.node.service_account_token import ServiceAccountTokens
from agents.node.service_links import service_links
from agents.node.shutdown import NOT_READY, REJECTED, end_pods
from agents.node.static_pods import StaticPods, is_mirror
from agents.node.stats_routes import StatsRoutes
from agents.node.volumes import Volumes
from kubraft.agent_main import Agent
from kubraft.api.gvk import NODE, POD, SERVICE
from kubraft.api.object import Object, ObjectKey, uid_of
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.delegated_auth import DelegatedAuth
from kubraft.grpc_server.server import GrpcServer
from kubraft.pb.v1 import node_pb2_grpc

_RUNTIME_WAIT_S = 30.0
_WORKERS = 8
# What streams and logs have to end by themselves when the agent does.
_STOP_GRACE_S = 0.0


class NodeAgent:
    """One node."""

    def __init__(self, agent: Agent) -> None:
        given: argparse.Namespace = agent.arguments
        self._agent = agent
        self._given = given
        self._client = agent.client
        self._clock = agent.clock
        self._root: Path = given.root_dir.resolve()
        self._runtime = CriClient(given.runtime_endpoint)
        self._runtime_error = ""
        self._objects = FetchedObjects(agent.client, agent.clock)
        self._recorder = EventRecorder(agent.client, "kubelet", host=given.name, clock=agent.clock)
        self._pods = Informer(
            agent.client,
            POD,
            field_selector=f"spec.nodeName={given.name}",
            indexers={"uid": lambda pod: [uid_of(pod)]},
        )
        self._nodes = Informer(agent.client, NODE, field_selector=f"metadata.name={given.name}")
        self._services = Informer(agent.client, SERVICE)
        self._controller: Controller[str] = Controller(
            "node.pods", self._reconcile, workers=_WORKERS, clock=agent.clock
        )
        self._static = StaticPods(
            given.pod_manifest_path,
            given.name,
            agent.client,
            agent.clock,
            mirrors=self._pods.list,
            node_uid=self._node_uid,
            again=self._controller.queue.add,
            known=lambda uid: self._sync is not None and uid in self._sync.known(),
            period_s=given.file_check_frequency,
        )
        self._sync: PodSync | None = None
        self._evictor: Evictor | None = None
        self._shutting_down = False
        self._registration: Registration | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            machine = await self._measure()
            self._registration = Registration(
                self._client,
                machine,
                self._usage,
                self._recorder,
                clock=self._clock,
                periods=Periods(
                    lease_duration_s=max(1, round(self._given.node_lease_duration)),
                    status_update_s=self._given.node_status_update_frequency,
                    status_report_s=self._given.node_status_report_frequency,
                ),
            )
            await self._run_to_the_end(machine, self._registration)
        finally:
            await self._runtime.close()

    async def _run_to_the_end(self, machine: Machine, registration: Registration) -> None:
        """Run; where the node ends with this agent, end its Pods first."""
        grace_s: float = self._given.shutdown_grace_period
        if not grace_s:
            await self._run(machine, registration)
            return
        running = asyncio.create_task(self._run(machine, registration))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done() and self._sync is not None:
                self._shutting_down = True
                registration.look_now()
                await end_pods(
                    self._sync.unfinished,
                    self._sync.evict,
                    self._clock,
                    grace_s=grace_s,
                    critical_grace_s=self._given.shutdown_grace_period_critical_pods,
                )
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _measure(self) -> Machine:
        runtime = await self._runtime_version()
        return await asyncio.to_thread(
            measure_machine,
            self._given.name,
            self._root,
            port=self._given.port,
            host_ip=self._given.node_ip,
            pod_cidr=self._given.pod_cidr,
            pods_max=self._given.max_pods,
            runtime=runtime,
        )

    async def _runtime_version(self) -> str:
        deadline_s = self._clock.monotonic_s() + _RUNTIME_WAIT_S
        while True:
            try:
                version = await self._runtime.version()
            except RuntimeCallError as error:
                if self._clock.monotonic_s() > deadline_s:
                    raise OSError(
                        f"--runtime-endpoint {self._given.runtime_endpoint}: {error}"
                    ) from error
                await self._clock.sleep(0.1)
            else:
                return f"{version.runtime_name}://{version.runtime_version}"

    async def _run(self, machine: Machine, registration: Registration) -> None:
        prober = Prober(self._clock, self._recorder, self._controller.queue.add, self._execute)
        stopper = PodStopper(
            self._runtime, self._recorder, self._clock, self._execute, self._controller.queue.add
        )
        hooks = PostStartHooks(
            self._recorder, self._clock, self._execute, self._controller.queue.add
        )
        self._sync = self._pod_sync(machine, registration, prober, stopper, hooks)
        self._evictor = self._make_evictor(self._sync)
        health = RuntimeHealth(
            self._runtime, self._clock, self._on_health, self._given.runtime_down_after
        )
        events = LifecycleEvents(
            self._runtime,
            self._clock,
            self._controller.queue.add,
            self._on_health,
            health.look,
        )
        self._nodes.add_handler(registration.on_node)
        self._pods.add_handler(self._on_pod)
        server = await self._serve()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._recorder.run())
                group.create_task(registration.run())
                await registration.registered.wait()
                group.create_task(self._nodes.run())
                group.create_task(self._pods.run())
                group.create_task(LocalVolumes(self._client, self._root, self._given.name).run())
                group.create_task(self._services.run())
                # What the runtime has is judged only once all Pods of this node are known.
                await self._pods.wait_synced()
                await self._services.wait_synced()
                await self._static.scan()
                for uid in await asyncio.to_thread(self._volumes.uids):
                    self._controller.queue.add(uid)
                group.create_task(self._static.run())
                group.create_task(self._controller.run())
                group.create_task(events.run())
                group.create_task(health.run())
                group.create_task(LogRotation(self._runtime, self._clock).run())
                self._agent.ready(node=self._given.name, port=self._given.port)
        finally:
            await server.stop(_STOP_GRACE_S)
            await prober.close()
            await stopper.close()
            await hooks.close()

    def _pod_sync(
        self,
        machine: Machine,
        registration: Registration,
        prober: Prober,
        stopper: PodStopper,
        hooks: PostStartHooks,
    ) -> PodSync:
        available = allocatable(machine)
        tokens = ServiceAccountTokens(self._client, self._clock)

        def place(address: str) -> Place:
            return Place(address or machine.host_ip, machine.host_ip, machine.name, available)

        def refuse(pod: Object) -> Waiting | None:
            assert self._sync is not None
            if self._shutting_down:
                return REJECTED
            if self._evictor is not None and (pressed := self._evictor.refusal(pod)):
                return pressed
            others = [p for p in self._sync.running_pods() if uid_of(p) != uid_of(pod)]
            return refusal(pod, others, available, registration.labels)

        def forget(uid: str) -> None:
            tokens.forget(uid)
            self._static.ended(uid)

        fetch = self._objects.fetch
        claims = ClaimVolumes(self._root, fetch, machine.name, lambda: registration.labels)
        self._volumes = Volumes(self._root, ApiVolumes(fetch, tokens.get), claims)
        starter = ContainerStarter(
            runtime=self._runtime,
            volumes=self._volumes,
            fetch=self._objects.fetch,
            recorder=self._recorder,
            clock=self._clock,
            root=self._root,
            identity=PodIdentity(
                self._root,
                ClusterDns(tuple(self._given.cluster_dns), self._given.cluster_domain),
                self._given.resolv_conf,
                self._given.cgroup_root,
            ),
            node_name=machine.name,
            place=place,
            links=lambda pod: service_links(pod, self._services.list()),
        )
        return PodSync(
            client=self._client,
            runtime=self._runtime,
            starter=starter,
            prober=prober,
            stopper=stopper,
            hooks=hooks,
            recorder=self._recorder,
            clock=self._clock,
            root=self._root,
            host_ip=machine.host_ip,
            find_pod=self._find_pod,
            refuse=refuse,
            backoff_s=(self._given.restart_backoff_base, self._given.restart_backoff_max),
            runtime_name=machine.info["containerRuntimeVersion"].partition("://")[0],
            forget=forget,
            again=self._controller.queue.add,
            uid_in_api=self._static.uid_in_api,
        )

    def _make_evictor(self, sync: PodSync) -> Evictor:
        given = self._given
        soft = parse_thresholds(given.eviction_soft, given.eviction_soft_grace_period)
        pressure = Pressure(
            (*parse_thresholds(given.eviction_hard), *soft),
            given.eviction_pressure_transition_period,
        )
        return Evictor(
            pressure,
            self._clock,
            self._runtime.pod_stats,
            running=sync.running_pods,
            evict=sync.evict,
            soft_grace_s=given.eviction_max_pod_grace_period,
        )

    # What the parts ask for

    def _node_uid(self) -> str:
        found = self._nodes.list()
        return uid_of(found[0]) if found else ""

    async def _reconcile(self, uid: str) -> float | None:
        assert self._sync is not None
        return await self._sync.reconcile(uid)

    def _find_pod(self, uid: str) -> Object | None:
        static = self._static.find(uid)
        if static is not None:
            return static
        found = self._pods.by_index("uid", uid)
        return found[0] if found and not is_mirror(found[0]) else None

    def _get_pod(self, key: ObjectKey) -> Object | None:
        pod = self._pods.get(key)
        return None if pod is None else self._static.as_run(pod)

    def _all_pods(self) -> list[Object]:
        return [self._static.as_run(pod) for pod in self._pods.list()]

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if is_mirror(new or old or {"metadata": {}}):
            self._static.on_mirror(old, new)
            return
        for pod in (old, new):
            if pod is not None:
                self._controller.queue.add(uid_of(pod))

    def _on_health(self, error: str) -> None:
        if error != self._runtime_error and self._registration is not None:
            self._registration.look_now()
        if self._runtime_error and not error and self._sync is not None:
            for uid in self._sync.known():
                self._controller.queue.add(uid)
        self._runtime_error = error

    async def _usage(self) -> Usage:
        error = NOT_READY if self._shutting_down else self._runtime_error
        usage = await asyncio.to_thread(measure_usage, self._root, error)
        if self._evictor is None:
            return usage
        return replace(usage, pressure=await self._evictor.look(usage))

    def _execute(self, container_id: str) -> Execute:
        async def execute(command: list[str], timeout_s: float) -> tuple[int, str]:
            return await self._runtime.exec_sync(container_id, command, timeout_s)

        return execute

    # The service for the API server

    async def _serve(self) -> GrpcServer:
        given = self._given
        logs = NodeAgentService(self._get_pod, self._runtime.view, self._clock, self._root / "logs")
        streams = PodStreams(self._get_pod, self._runtime.view, self._runtime)
        routes = {
            "healthz": Route(healthz),
            "containerLogs": log_route(logs.read, self._clock),
            **streams.routes(),
            **StatsRoutes(
                given.name, self._runtime.pod_stats, self._all_pods, self._clock
            ).routes(),
        }
        address = Address(
            given.node_ip,
            given.port,
            given.tls_cert_file,
            given.tls_private_key_file,
            given.client_ca_file,
        )
        front = HttpsFront(routes, DelegatedAuth(self._client, self._clock), given.name)
        server, given.port = listening(address, front.handle)
        grpc_server: Any = server  # takes handlers as grpc.aio's does
        node_pb2_grpc.add_NodeAgentServicer_to_server(logs, grpc_server)
        await server.start()
        return server


async def run_node(agent: Agent) -> None:
    """The agent's main function."""
    await NodeAgent(agent).run()


def add_eviction_flags(parser: argparse.ArgumentParser, duration: Any) -> None:
    """When Pods must go: because the node runs short, or ends."""
    add = parser.add_argument_group("eviction and shutdown").add_argument
    add(
        "--eviction-hard",
        type=_thresholds,
        default=HARD_DEFAULT,
        help=HARD_DEFAULT.replace("%", "%%"),
    )
    add("--eviction-soft", type=_thresholds, default="", help="as --eviction-hard, after a while")
    add("--eviction-soft-grace-period", default="", help="memory.available=1m30s,...")
    add("--eviction-max-pod-grace-period", type=duration, default=0.0, help="for soft ones (0s)")
    add("--eviction-pressure-transition-period", type=duration, default=300.0, help="5m")
    add(
        "--shutdown-grace-period",
        type=duration,
        default=0.0,
        help="SIGTERM is the node's end: Pods get so long to stop (0s: they run on)",
    )
    add(
        "--shutdown-grace-period-critical-pods",
        type=duration,
        default=0.0,
        help="the part of it that critical Pods get (0s)",
    )


def _thresholds(text: str) -> str:
    parse_thresholds(text)
    return text


def _addresses(text: str) -> list[str]:
    return [str(ipaddress.ip_address(part)) for part in text.split(",") if part]


def add_flags(parser: argparse.ArgumentParser, duration: Any) -> None:
    """The node agent's own flags."""
    add = parser.add_argument
    add("--name", required=True, help="the Node's name, which is also the certificate's")
    add("--root-dir", required=True, type=Path, help="volumes and logs of Pods")
    add(
        *("--container-runtime-endpoint", "--runtime-endpoint"),
        dest="runtime_endpoint",
        required=True,
        help="CRI v1 endpoint, unix:///PATH",
    )
    add("--cgroup-root", default="", help="cgroup that the runtime puts Pods into")
    add("--port", type=int, default=10250, help="where the API server asks for logs (%(default)s)")
    add("--tls-cert-file", required=True, type=Path, help="certificate of that port")
    add("--tls-private-key-file", required=True, type=Path, help="its key")
    add("--client-ca-file", required=True, type=Path, help="CA of who may ask")
    add("--node-ip", default="127.0.0.1", help="the node's address (%(default)s)")
    add("--pod-cidr", default="", help="the range of Pods' addresses, for spec.podCIDR")
    add("--pod-manifest-path", type=Path, help="a folder with manifests of static Pods")
    add("--max-pods", type=int, default=110, help="(%(default)s)")
    group = parser.add_argument_group("names")
    group.add_argument(
        "--cluster-dns",
        type=_addresses,
        default=[],
        metavar="IP,...",
        help="servers for Pods with dnsPolicy ClusterFirst; without it they get the host's",
    )
    group.add_argument("--cluster-domain", default="cluster.local", help="(%(default)s)")
    group.add_argument(
        "--resolv-conf",
        type=Path,
        default=Path("/etc/resolv.conf"),
        help="the host's (%(default)s)",
    )
    add_eviction_flags(parser, duration)
    group = parser.add_argument_group("periods")
    group.add_argument(
        "--runtime-down-after",
        type=duration,
        default=30.0,
        help="a runtime that answers nothing for so long makes the node NotReady (30s)",
    )
    group.add_argument("--file-check-frequency", type=duration, default=20.0, help="20s")
    group.add_argument("--node-lease-duration", type=duration, default=40.0, help="40s")
    group.add_argument("--node-status-update-frequency", type=duration, default=10.0, help="10s")
    group.add_argument("--node-status-report-frequency", type=duration, default=300.0, help="5m")
    group.add_argument("--restart-backoff-base", type=duration, default=10.0, help="10s")
    group.add_argument("--restart-backoff-max", type=duration, default=300.0, help="5m")
