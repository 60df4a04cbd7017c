"""Starting one container: its image, environment, volumes, and then the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.action import StartContainer
from agents.node.cri_client import CriClient, RuntimeCallError
from agents.node.cri_config import container_config, log_directory
from agents.node.environment import ConfigError, Fetch, environment
from agents.node.fields import Place
from agents.node.plan import Waiting, container_spec
from agents.node.pod_identity import PodIdentity
from agents.node.pod_memory import PodMemory
from agents.node.pod_parts import PodVolumes
from agents.node.pod_view import SandboxView
from agents.node.runtime_class import runtime_handler
from agents.node.security import check_image_user, must_not_be_root
from agents.node.volume_mounts import mounts
from agents.node.volume_watch import say_failed
from agents.node.volumes import Volumes, VolumeSetUpError
from agents.runtime.reference import parse_reference
from kubraft.api.errors import ApiError
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.client.events import EventRecorder
from kubraft.pb.criv1 import api_pb2 as cri

TERMINATION_LOG = "/dev/termination-log"


class StartError(Exception):
    """A container could not be started; `waiting` is what its status says."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.waiting = Waiting(reason, message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ContainerStarter:
    """Starts containers of this node's Pods."""

    runtime: CriClient
    volumes: Volumes
    fetch: Fetch
    recorder: EventRecorder
    clock: Clock
    root: Path
    identity: PodIdentity
    node_name: str
    place: Callable[[str], Place]  # of a Pod's address
    links: Callable[[Object], dict[str, str]]  # what a Pod's environment says of Services

    async def handler(self, pod: Object) -> str:
        """The runtime's handler for the Pod's sandbox.

        Raises:
            RuntimeClassError: its class cannot be had.
        """
        return await runtime_handler(pod, self.fetch)

    async def start(
        self, pod: Object, sandbox: SandboxView, action: StartContainer, memory: PodMemory
    ) -> str:
        """Create and start a container, with the events and reasons of upstream.

        Returns:
            Its id.

        Raises:
            StartError: it does not run.
        """
        container = container_spec(pod, action.name)
        place = self.place(sandbox.address)
        config = self.identity.sandbox(pod, sandbox.attempt)
        paths = await self._volumes(pod, place, memory)
        image_id = await self._image(pod, container, config, memory)
        create = await self._config(
            pod, container, place, action.attempt, image_id=image_id, paths=paths
        )
        (log_directory(self.root, pod) / action.name).mkdir(parents=True, exist_ok=True)
        try:
            container_id = await self.runtime.create_container(sandbox.id, create, config)
        except RuntimeCallError as error:
            raise self._failed(pod, container, "CreateContainerError", error.details) from error
        self._event(pod, container, "Normal", "Created", f"Created container: {action.name}")
        try:
            await self.runtime.start_container(container_id)
        except RuntimeCallError as error:
            raise self._failed(pod, container, "RunContainerError", error.details) from error
        self._event(pod, container, "Normal", "Started", f"Started container {action.name}")
        return container_id

    def _event(
        self, pod: Object, container: Mapping[str, Any], kind: str, reason: str, message: str
    ) -> None:
        kinds = ("initContainers", "ephemeralContainers")
        found = (kind for kind in kinds if container in (pod["spec"].get(kind) or ()))
        field = next(found, "containers")
        path = f"spec.{field}{{{container['name']}}}"
        self.recorder.event(pod, kind, reason, message, field_path=path)

    def _failed(
        self, pod: Object, container: Mapping[str, Any], reason: str, message: str
    ) -> StartError:
        self._event(pod, container, "Warning", "Failed", f"Error: {message}")
        return StartError(reason, message)

    # Image

    async def _image(
        self,
        pod: Object,
        container: Mapping[str, Any],
        config: cri.PodSandboxConfig,
        memory: PodMemory,
    ) -> str:
        """Have the image, by the container's pull policy; returns its id."""
        image = container.get("image") or ""
        self._check_name(pod, container, image)
        try:
            present = await self.runtime.find_image(image)
            policy = container.get("imagePullPolicy") or "IfNotPresent"
            if present is not None and policy != "Always":
                message = (
                    f'Container image "{image}" already present on machine and can be accessed '
                    "by the pod"
                )
                self._event(pod, container, "Normal", "Pulled", message)
                return present.id
        except RuntimeCallError as error:
            message = f'Failed to inspect image "{image}": {error}'
            self._event(pod, container, "Warning", "InspectFailed", message)
            self._event(pod, container, "Warning", "Failed", "Error: ImageInspectError")
            raise StartError("ImageInspectError", message) from error
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            self._event(pod, container, "Warning", "ErrImageNeverPull", message)
            self._event(pod, container, "Warning", "Failed", "Error: ErrImageNeverPull")
            raise StartError("ErrImageNeverPull", message)
        return await self._pull(pod, container, image, config, memory)

    def _check_name(self, pod: Object, container: Mapping[str, Any], image: str) -> None:
        try:
            parse_reference(image)
        except ValueError as error:
            cause = f'couldn\'t parse image name "{image}": {error}'
            message = f'Failed to apply default image tag "{image}": {cause}'
            self._event(pod, container, "Warning", "InspectFailed", message)
            self._event(pod, container, "Warning", "Failed", "Error: InvalidImageName")
            raise StartError("InvalidImageName", message) from error

    async def _pull(
        self,
        pod: Object,
        container: Mapping[str, Any],
        image: str,
        config: cri.PodSandboxConfig,
        memory: PodMemory,
    ) -> str:
        now_s = self.clock.monotonic_s()
        failed_at_s = memory.pull_failed_at_s.get(image)
        if failed_at_s is not None:
            remaining_s = memory.pulls.remaining_s(image, failed_at_s, now_s)
            if remaining_s > 0:
                message = f'Back-off pulling image "{image}"'
                self._event(pod, container, "Normal", "BackOff", message)
                self._event(pod, container, "Warning", "Failed", "Error: ImagePullBackOff")
                cause = memory.pull_errors.get(image)
                text = f"{message}: ErrImagePull: {cause}" if cause else message
                raise StartError("ImagePullBackOff", text, retry_after_s=remaining_s)
        self._event(pod, container, "Normal", "Pulling", f'Pulling image "{image}"')
        began_s = self.clock.monotonic_s()
        try:
            reference = await self.runtime.pull_image(image, config)
        except RuntimeCallError as error:
            memory.pulls.next(image, failed_at_s or now_s, now_s)
            memory.pull_failed_at_s[image] = self.clock.monotonic_s()
            memory.pull_errors[image] = str(error)
            message = f'Failed to pull image "{image}": {error}'
            self._event(pod, container, "Warning", "Failed", message)
            self._event(pod, container, "Warning", "Failed", "Error: ErrImagePull")
            raise StartError("ErrImagePull", str(error), retry_after_s=1.0) from error
        memory.pulls.reset(image)
        memory.pull_failed_at_s.pop(image, None)
        took = f"{round((self.clock.monotonic_s() - began_s) * 1000)}ms"
        message = f'Successfully pulled image "{image}" in {took} ({took} including waiting).'
        self._event(pod, container, "Normal", "Pulled", message)
        return reference

    # Config

    async def _volumes(self, pod: Object, place: Place, memory: PodMemory) -> Mapping[str, Path]:
        """Before all else: nothing is pulled for a Pod that waits for its volumes."""
        try:
            paths = await self.volumes.set_up(pod, place)
        except VolumeSetUpError as error:
            say_failed(self.recorder, pod, memory, str(error), self.clock.monotonic_s())
            reason = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
            raise StartError(reason, "") from error
        except ApiError as error:
            raise StartError("ContainerCreating", error.message) from error
        memory.volumes_awaited_since_s = None
        return paths

    async def _config(
        self,
        pod: Object,
        container: Mapping[str, Any],
        place: Place,
        attempt: int,
        *,
        image_id: str,
        paths: Mapping[str, Path],
    ) -> cri.ContainerConfig:
        try:
            if must_not_be_root(pod, container):
                found = await self.runtime.find_image(image_id)
                check_image_user(pod, container, found or cri.Image())
            env = await environment(pod, container, place, self.fetch, self.links(pod))
            # Names of our own that programs may want; those of the Pod come after them.
            metadata = pod["metadata"]
            own = {
                "KUBRAFT_NODE_NAME": self.node_name,
                "KUBRAFT_POD_NAME": metadata["name"],
                "KUBRAFT_POD_NAMESPACE": metadata["namespace"],
            }
            env = {**own, **env}
            wanted = await asyncio.to_thread(mounts, pod["spec"], container, paths, env)
            wanted += await asyncio.to_thread(self._own_files, pod, container, place, attempt)
            return container_config(
                pod,
                container,
                attempt,
                image_id=image_id,
                env=env,
                mounts=wanted,
                target_id=await self._target(pod, container),
            )
        except ConfigError as error:
            raise self._failed(pod, container, "CreateContainerConfigError", str(error)) from error
        except RuntimeCallError as error:
            raise self._failed(
                pod, container, "CreateContainerConfigError", error.details
            ) from error
        except ApiError as error:
            raise self._failed(
                pod, container, "CreateContainerConfigError", error.message
            ) from error

    async def _target(self, pod: Object, container: Mapping[str, Any]) -> str:
        """The id of the container whose processes a debug container is to see; "" for none."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        life = (await self.runtime.view(uid_of(pod))).newest(name)
        if life is None or not life.running:
            raise ConfigError(f"unable to find target container {name}")
        return life.id

    def _own_files(
        self, pod: Object, container: Mapping[str, Any], place: Place, attempt: int
    ) -> list[cri.Mount]:
        directory = self.volumes.pod_directory(pod["metadata"]["uid"])
        hosts = self.identity.hosts_mount(pod, container, place.pod_ip, directory)
        found = [self._termination_log(pod, container, attempt)]
        return found if hosts is None else [*found, hosts]

    def _termination_log(
        self, pod: Object, container: Mapping[str, Any], attempt: int
    ) -> cri.Mount:
        path = termination_log(self.volumes, pod["metadata"]["uid"], container["name"], attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o666)
        path.chmod(0o666)
        target = container.get("terminationMessagePath") or TERMINATION_LOG
        return cri.Mount(container_path=target, host_path=str(path))


def termination_log(volumes: PodVolumes, uid: str, name: str, attempt: int) -> Path:
    """The file that a life of a container may leave its last words in."""
    return volumes.pod_directory(uid) / "containers" / name / f"termination-{attempt}"
