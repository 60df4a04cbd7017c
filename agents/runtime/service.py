"""CRI's RuntimeService over the process runtime."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

from agents.runtime.edge import Context, method
from agents.runtime.errors import (
    InvalidFailure,
    RuntimeFailure,
)
from agents.runtime.execution import exec_sync
from agents.runtime.records import Container, Sandbox
from agents.runtime.runtime import ProcessRuntime
from agents.runtime.statistics import container_stats, sandbox_stats
from agents.runtime.streaming.server import StreamingServer
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc

RUNTIME_NAME = "process"
RUNTIME_VERSION = "0.1.0"


class RuntimeService(cri_grpc.RuntimeServiceServicer):
    """Thin: one runtime operation a method. What is not here answers UNIMPLEMENTED."""

    def __init__(self, runtime: ProcessRuntime, streaming: StreamingServer) -> None:
        self._runtime = runtime
        self._streaming = streaming

    @method
    async def Version(  # noqa: N802
        self, _request: cri.VersionRequest, _context: Context
    ) -> cri.VersionResponse:
        return cri.VersionResponse(
            version="0.1.0",
            runtime_name=RUNTIME_NAME,
            runtime_version=RUNTIME_VERSION,
            runtime_api_version="v1",
        )

    @method
    async def Status(  # noqa: N802
        self, request: cri.StatusRequest, _context: Context
    ) -> cri.StatusResponse:
        conditions = [
            cri.RuntimeCondition(type="RuntimeReady", status=True),
            cri.RuntimeCondition(type="NetworkReady", status=True),
        ]
        isolation = self._runtime.site.isolation
        cgroups = self._runtime.cgroups.version
        info = {"isolated": isolation.available, "reason": isolation.reason, "cgroups": cgroups}
        return cri.StatusResponse(
            status=cri.RuntimeStatus(conditions=conditions),
            info={"config": json.dumps(info)} if request.verbose else {},
            runtime_handlers=[cri.RuntimeHandler(features=cri.RuntimeHandlerFeatures())],
        )

    @method
    async def RuntimeConfig(  # noqa: N802
        self, _request: cri.RuntimeConfigRequest, _context: Context
    ) -> cri.RuntimeConfigResponse:
        linux = cri.LinuxRuntimeConfiguration(cgroup_driver=cri.CGROUPFS)
        return cri.RuntimeConfigResponse(linux=linux)

    @method
    async def UpdateRuntimeConfig(  # noqa: N802
        self, _request: cri.UpdateRuntimeConfigRequest, _context: Context
    ) -> cri.UpdateRuntimeConfigResponse:
        return cri.UpdateRuntimeConfigResponse()  # the Pod range is a flag

    # Sandboxes

    @method
    async def RunPodSandbox(  # noqa: N802
        self, request: cri.RunPodSandboxRequest, _context: Context
    ) -> cri.RunPodSandboxResponse:
        if request.runtime_handler:
            raise InvalidFailure(
                f'failed to get sandbox runtime: no runtime for "{request.runtime_handler}" '
                "is configured"
            )
        sandbox = self._runtime.run_sandbox(request.config)
        return cri.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    @method
    async def StopPodSandbox(  # noqa: N802
        self, request: cri.StopPodSandboxRequest, _context: Context
    ) -> cri.StopPodSandboxResponse:
        await self._runtime.stop_sandbox(request.pod_sandbox_id)
        return cri.StopPodSandboxResponse()

    @method
    async def RemovePodSandbox(  # noqa: N802
        self, request: cri.RemovePodSandboxRequest, _context: Context
    ) -> cri.RemovePodSandboxResponse:
        await self._runtime.remove_sandbox(request.pod_sandbox_id)
        return cri.RemovePodSandboxResponse()

    @method
    async def PodSandboxStatus(  # noqa: N802
        self, request: cri.PodSandboxStatusRequest, _context: Context
    ) -> cri.PodSandboxStatusResponse:
        sandbox = self._runtime.get_sandbox(request.pod_sandbox_id)
        return cri.PodSandboxStatusResponse(
            status=sandbox.status,
            containers_statuses=[c.status for c in self._runtime.containers_of(sandbox.id)],
        )

    @method
    async def ListPodSandbox(  # noqa: N802
        self, request: cri.ListPodSandboxRequest, _context: Context
    ) -> cri.ListPodSandboxResponse:
        items = [
            _sandbox_item(sandbox)
            for sandbox in self._runtime.sandboxes.values()
            if _sandbox_matches(request.filter, sandbox)
        ]
        return cri.ListPodSandboxResponse(items=items)

    # Containers

    @method
    async def CreateContainer(  # noqa: N802
        self, request: cri.CreateContainerRequest, _context: Context
    ) -> cri.CreateContainerResponse:
        container = self._runtime.create_container(request.pod_sandbox_id, request.config)
        return cri.CreateContainerResponse(container_id=container.id)

    @method
    async def StartContainer(  # noqa: N802
        self, request: cri.StartContainerRequest, _context: Context
    ) -> cri.StartContainerResponse:
        await self._runtime.start_container(request.container_id)
        return cri.StartContainerResponse()

    @method
    async def StopContainer(  # noqa: N802
        self, request: cri.StopContainerRequest, _context: Context
    ) -> cri.StopContainerResponse:
        await self._runtime.stop_container(request.container_id, timeout_s=request.timeout)
        return cri.StopContainerResponse()

    @method
    async def RemoveContainer(  # noqa: N802
        self, request: cri.RemoveContainerRequest, _context: Context
    ) -> cri.RemoveContainerResponse:
        await self._runtime.remove_container(request.container_id)
        return cri.RemoveContainerResponse()

    @method
    async def ListContainers(  # noqa: N802
        self, request: cri.ListContainersRequest, _context: Context
    ) -> cri.ListContainersResponse:
        items = [
            _container_item(container)
            for container in self._runtime.containers.values()
            if _container_matches(request.filter, container)
        ]
        return cri.ListContainersResponse(containers=items)

    @method
    async def ContainerStatus(  # noqa: N802
        self, request: cri.ContainerStatusRequest, _context: Context
    ) -> cri.ContainerStatusResponse:
        container = self._runtime.get_container(request.container_id)
        info = {}
        if request.verbose and container.process is not None:
            info["info"] = json.dumps({"pid": container.process.init_pid})
        return cri.ContainerStatusResponse(status=container.status, info=info)

    @method
    async def ReopenContainerLog(  # noqa: N802
        self, request: cri.ReopenContainerLogRequest, _context: Context
    ) -> cri.ReopenContainerLogResponse:
        container = self._runtime.get_running(request.container_id)
        if container.pump is not None:
            container.pump.reopen()
        return cri.ReopenContainerLogResponse()

    @method
    async def UpdateContainerResources(  # noqa: N802
        self, request: cri.UpdateContainerResourcesRequest, _context: Context
    ) -> cri.UpdateContainerResourcesResponse:
        self._runtime.update_resources(request.container_id, request.linux)
        return cri.UpdateContainerResourcesResponse()

    @method
    async def ExecSync(  # noqa: N802
        self, request: cri.ExecSyncRequest, _context: Context
    ) -> cri.ExecSyncResponse:
        container = self._runtime.get_running(request.container_id)
        if not request.cmd:
            raise InvalidFailure("command is required")
        if container.launch is None:
            raise RuntimeFailure("failed to exec in container: it is not of this run")
        return await exec_sync(
            container, container.launch, tuple(request.cmd), timeout_s=request.timeout
        )

    @method
    async def Exec(  # noqa: N802
        self, request: cri.ExecRequest, _context: Context
    ) -> cri.ExecResponse:
        return cri.ExecResponse(url=self._streaming.exec_url(request))

    @method
    async def Attach(  # noqa: N802
        self, request: cri.AttachRequest, _context: Context
    ) -> cri.AttachResponse:
        return cri.AttachResponse(url=self._streaming.attach_url(request))

    @method
    async def PortForward(  # noqa: N802
        self, request: cri.PortForwardRequest, _context: Context
    ) -> cri.PortForwardResponse:
        return cri.PortForwardResponse(url=self._streaming.port_forward_url(request))

    # Statistics and events

    @method
    async def ContainerStats(  # noqa: N802
        self, request: cri.ContainerStatsRequest, _context: Context
    ) -> cri.ContainerStatsResponse:
        container = self._runtime.get_container(request.container_id)
        return cri.ContainerStatsResponse(stats=container_stats(container))

    @method
    async def ListContainerStats(  # noqa: N802
        self, request: cri.ListContainerStatsRequest, _context: Context
    ) -> cri.ListContainerStatsResponse:
        wanted = cri.ContainerFilter(
            id=request.filter.id,
            pod_sandbox_id=request.filter.pod_sandbox_id,
            label_selector=request.filter.label_selector,
        )
        found = [c for c in self._runtime.containers.values() if _container_matches(wanted, c)]
        return cri.ListContainerStatsResponse(stats=[container_stats(c) for c in found])

    @method
    async def PodSandboxStats(  # noqa: N802
        self, request: cri.PodSandboxStatsRequest, _context: Context
    ) -> cri.PodSandboxStatsResponse:
        sandbox = self._runtime.get_sandbox(request.pod_sandbox_id)
        stats = sandbox_stats(sandbox, self._runtime.containers_of(sandbox.id))
        return cri.PodSandboxStatsResponse(stats=stats)

    @method
    async def ListPodSandboxStats(  # noqa: N802
        self, request: cri.ListPodSandboxStatsRequest, _context: Context
    ) -> cri.ListPodSandboxStatsResponse:
        wanted = cri.PodSandboxFilter(
            id=request.filter.id, label_selector=request.filter.label_selector
        )
        found = [s for s in self._runtime.sandboxes.values() if _sandbox_matches(wanted, s)]
        return cri.ListPodSandboxStatsResponse(
            stats=[sandbox_stats(s, self._runtime.containers_of(s.id)) for s in found]
        )

    async def GetContainerEvents(  # noqa: N802
        self, _request: cri.GetEventsRequest, context: Context
    ) -> AsyncIterator[cri.ContainerEventResponse]:
        # The reader lists after it has seen this: nothing is missed in between.
        await context.send_initial_metadata(())
        try:
            async for event in self._runtime.events.stream():
                yield event
        except RuntimeFailure as failure:
            await context.abort(failure.code, str(failure))


def _sandbox_item(sandbox: Sandbox) -> cri.PodSandbox:
    status = sandbox.status
    return cri.PodSandbox(
        id=status.id,
        metadata=status.metadata,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        runtime_handler=status.runtime_handler,
    )


def _container_item(container: Container) -> cri.Container:
    status = container.status
    return cri.Container(
        id=status.id,
        pod_sandbox_id=container.sandbox_id,
        metadata=status.metadata,
        image=status.image,
        image_ref=status.image_ref,
        image_id=status.image_id,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
    )


def _sandbox_matches(wanted: cri.PodSandboxFilter, sandbox: Sandbox) -> bool:
    status = sandbox.status
    return (
        status.id.startswith(wanted.id)
        and (not wanted.HasField("state") or status.state == wanted.state.state)
        and _labels_match(wanted.label_selector, status.labels)
    )


def _container_matches(wanted: cri.ContainerFilter, container: Container) -> bool:
    status = container.status
    return (
        status.id.startswith(wanted.id)
        and container.sandbox_id.startswith(wanted.pod_sandbox_id)
        and (not wanted.HasField("state") or status.state == wanted.state.state)
        and _labels_match(wanted.label_selector, status.labels)
    )


def _labels_match(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())
