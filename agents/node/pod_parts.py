"""What the reconciler of Pods asks of the parts around it.

There are two sets of them: those of a machine (CRI, files, probes) and those of hollow nodes.
All are called from one event loop; calls that say so raise RuntimeCallError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from agents.node.action import StartContainer
from agents.node.fields import Place
from agents.node.plan import Unhealthy
from agents.node.pod_identity import PodIdentity
from agents.node.pod_memory import PodMemory
from agents.node.pod_view import ContainerView, PodView, SandboxView
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri


class PodRuntime(Protocol):
    """The calls of CRI, each of which raises RuntimeCallError."""

    async def view(self, uid: str) -> PodView: ...

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str = "") -> str: ...

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace_s: float) -> None: ...

    async def remove_container(self, container_id: str) -> None: ...

    async def update_resources(
        self, container_id: str, resources: cri.LinuxContainerResources
    ) -> None: ...


class PodVolumes(Protocol):
    """The files of Pods."""

    def pod_directory(self, uid: str) -> Path: ...

    async def set_up(self, pod: Object, place: Place) -> dict[str, Path]: ...

    def empty_directory(self, pod: Object, name: str) -> Path: ...

    def remove(self, uid: str) -> None: ...


class PodStarter(Protocol):
    """Starts containers and returns their ids; raises StartError."""

    async def handler(self, pod: Object) -> str:
        """The runtime's handler for its sandbox, "" for the default; raises RuntimeClassError."""

    @property
    def identity(self) -> PodIdentity: ...

    @property
    def volumes(self) -> PodVolumes: ...

    @property
    def place(self) -> Callable[[str], Place]: ...

    async def start(
        self, pod: Object, sandbox: SandboxView, action: StartContainer, memory: PodMemory
    ) -> str: ...


class PodProber(Protocol):
    """Knows whether running lives are started, ready and well."""

    def follow(
        self,
        pod: Object,
        container: Mapping[str, Any],
        life: ContainerView,
        address: str,
        *,
        was_ready: bool,
        started_for_s: float,
    ) -> None: ...

    def forget_all_but(self, uid: str, ids: Iterable[str]) -> None: ...

    def ready(self, container_id: str) -> bool: ...

    def started(self, container_id: str) -> bool: ...

    def only_readiness(self, uid: str) -> None: ...

    def unhealthy(self) -> dict[str, Unhealthy]: ...
