"""The container runtime, as the node agent calls it: CRI v1 over a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import grpc
import grpc.aio

from agents.node.pod_view import POD_UID, PodView, pod_view
from agents.node.usage import of_containers
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc

_CALL_TIMEOUT_S = 120.0
_READ_TIMEOUT_S = 10.0
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class RuntimeCallError(Exception):
    """The runtime refused a call, or does not answer."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        details = error.details() or ""
        super().__init__(f"rpc error: code = {_code_name(error.code())} desc = {details}")
        self.code = error.code()
        self.details = details

    @property
    def http_status(self) -> int:
        """As the kubelet answers it. Source: its streaming package, WriteError."""
        known = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.RESOURCE_EXHAUSTED: 429}
        return known.get(self.code, 500)

    @property
    def unavailable(self) -> bool:
        """Whether nobody answers."""
        return self.code == grpc.StatusCode.UNAVAILABLE


def _code_name(code: grpc.StatusCode) -> str:
    """As Go programs print it: NotFound."""
    return "".join(word.title() for word in code.name.split("_"))


_Answer = TypeVar("_Answer")


async def _answer(call: Awaitable[_Answer]) -> _Answer:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise RuntimeCallError(error) from error


class CriClient:
    """Calls that raise RuntimeCallError."""

    def __init__(self, endpoint: str) -> None:
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.enable_retries", 0),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self._channel = grpc.aio.insecure_channel(endpoint, options)
        self._runtime = cri_grpc.RuntimeServiceStub(self._channel)
        self._images = cri_grpc.ImageServiceStub(self._channel)
        # Containers that have ended do not change any more.
        self._ended: dict[str, cri.ContainerStatus] = {}

    async def close(self) -> None:
        await self._channel.close(None)

    async def version(self) -> cri.VersionResponse:
        return await _answer(
            self._runtime.Version(cri.VersionRequest(version="0.1.0"), timeout=_READ_TIMEOUT_S)
        )

    async def status(self, timeout_s: float = _READ_TIMEOUT_S) -> cri.StatusResponse:
        return await _answer(self._runtime.Status(cri.StatusRequest(), timeout=timeout_s))

    async def view(self, uid: str) -> PodView:
        """All that the runtime has of Pod `uid`."""
        labels = {POD_UID: uid}
        sandboxes = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        containers = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels))
        try:
            found, lives = await asyncio.gather(
                self._runtime.ListPodSandbox(sandboxes, timeout=_READ_TIMEOUT_S),
                self._runtime.ListContainers(containers, timeout=_READ_TIMEOUT_S),
            )
            statuses = await asyncio.gather(*(self._sandbox_status(s.id) for s in found.items))
            ended = await asyncio.gather(
                *(self._container_status(c.pod_sandbox_id, c.id) for c in lives.containers)
            )
        except grpc.aio.AioRpcError as error:
            raise RuntimeCallError(error) from error
        return pod_view([s for s in statuses if s], [e for e in ended if e])

    async def _sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus | None:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        try:
            answer = await self._runtime.PodSandboxStatus(request, timeout=_READ_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return answer.status

    async def _container_status(
        self, sandbox_id: str, container_id: str
    ) -> tuple[str, cri.ContainerStatus] | None:
        known = self._ended.get(container_id)
        if known is not None:
            return sandbox_id, known
        request = cri.ContainerStatusRequest(container_id=container_id)
        try:
            answer = await self._runtime.ContainerStatus(request, timeout=_READ_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise
        if answer.status.state == cri.CONTAINER_EXITED:
            self._ended[container_id] = answer.status
        return sandbox_id, answer.status

    async def sandboxes(self) -> list[cri.PodSandbox]:
        """All sandboxes of this node."""
        answer = await _answer(
            self._runtime.ListPodSandbox(cri.ListPodSandboxRequest(), timeout=_READ_TIMEOUT_S)
        )
        return list(answer.items)

    async def containers(self) -> list[cri.Container]:
        """All containers of this node."""
        answer = await _answer(
            self._runtime.ListContainers(cri.ListContainersRequest(), timeout=_READ_TIMEOUT_S)
        )
        return list(answer.containers)

    async def pod_stats(self) -> list[cri.PodSandboxStats]:
        """What the Pods of this node have used, by sandbox."""
        request = cri.ListPodSandboxStatsRequest()
        try:
            answer = await self._runtime.ListPodSandboxStats(request, timeout=_READ_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise RuntimeCallError(error) from error
            listing = self._runtime.ListContainerStats(
                cri.ListContainerStatsRequest(), timeout=_READ_TIMEOUT_S
            )
            return of_containers((await _answer(listing)).stats)
        return list(answer.stats)

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str = "") -> str:
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        answer = await _answer(self._runtime.RunPodSandbox(request, timeout=_CALL_TIMEOUT_S))
        return answer.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await _answer(self._runtime.StopPodSandbox(request, timeout=_CALL_TIMEOUT_S))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await _answer(self._runtime.RemovePodSandbox(request, timeout=_CALL_TIMEOUT_S))

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox
        )
        answer = await _answer(self._runtime.CreateContainer(request, timeout=_CALL_TIMEOUT_S))
        return answer.container_id

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        await _answer(self._runtime.StartContainer(request, timeout=_CALL_TIMEOUT_S))

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        request = cri.StopContainerRequest(container_id=container_id, timeout=round(grace_s))
        await _answer(self._runtime.StopContainer(request, timeout=grace_s + _CALL_TIMEOUT_S))

    async def update_resources(
        self, container_id: str, resources: cri.LinuxContainerResources
    ) -> None:
        """Give a container other limits."""
        request = cri.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        await _answer(self._runtime.UpdateContainerResources(request, timeout=_READ_TIMEOUT_S))

    async def remove_container(self, container_id: str) -> None:
        self._ended.pop(container_id, None)
        request = cri.RemoveContainerRequest(container_id=container_id)
        await _answer(self._runtime.RemoveContainer(request, timeout=_CALL_TIMEOUT_S))

    async def exec_sync(
        self, container_id: str, command: list[str], timeout_s: float
    ) -> tuple[int, str]:
        """Run a command; its exit status and what it wrote. TimeoutError where it took too long."""
        request = cri.ExecSyncRequest(
            container_id=container_id, cmd=command, timeout=max(1, round(timeout_s))
        )
        try:
            answer = await self._runtime.ExecSync(request, timeout=timeout_s + _READ_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError from error
            raise OSError(error.details() or str(error.code())) from error
        return answer.exit_code, (answer.stdout + answer.stderr).decode(errors="replace")

    async def exec_url(self, request: cri.ExecRequest) -> str:
        """Where a command's streams are served."""
        return (await _answer(self._runtime.Exec(request, timeout=_READ_TIMEOUT_S))).url

    async def attach_url(self, request: cri.AttachRequest) -> str:
        """Where a container's own streams are served."""
        return (await _answer(self._runtime.Attach(request, timeout=_READ_TIMEOUT_S))).url

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        """Where a Pod's ports are served."""
        return (await _answer(self._runtime.PortForward(request, timeout=_READ_TIMEOUT_S))).url

    async def reopen_log(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await _answer(self._runtime.ReopenContainerLog(request, timeout=_READ_TIMEOUT_S))

    async def find_image(self, image: str) -> cri.Image | None:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image))
        answer = await _answer(self._images.ImageStatus(request, timeout=_READ_TIMEOUT_S))
        return answer.image if answer.image.id else None

    async def pull_image(self, image: str, sandbox: cri.PodSandboxConfig) -> str:
        request = cri.PullImageRequest(image=cri.ImageSpec(image=image), sandbox_config=sandbox)
        answer = await _answer(self._images.PullImage(request, timeout=None))
        return answer.image_ref

    async def events(self) -> AsyncIterator[cri.ContainerEventResponse | None]:
        """Container events; None first, once the stream is open and a list misses nothing."""
        call = self._runtime.GetContainerEvents(cri.GetEventsRequest())
        try:
            await call.initial_metadata()
            yield None
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise RuntimeCallError(error) from error
        finally:
            call.cancel()
