"""The process runtime: CRI's sandboxes and containers, as supervised host processes.

One event loop's thread runs all of it. Operations on one container may overlap (a stop and a
remove, say); each looks at the state again after it has waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from agents.runtime.address_pool import AddressPool, AddressPoolExhaustedError
from agents.runtime.cgroups import Cgroups
from agents.runtime.container_events import ContainerEvents
from agents.runtime.container_launch import (
    Site,
    container_launch,
    container_user,
    make_directories,
)
from agents.runtime.container_log import LogFile
from agents.runtime.errors import (
    AlreadyExistsFailure,
    ExhaustedFailure,
    InvalidFailure,
    NotFoundFailure,
    PreconditionFailure,
    RuntimeFailure,
)
from agents.runtime.images import ImageStore
from agents.runtime.launch import Launch
from agents.runtime.names import write_names
from agents.runtime.output import LogPump
from agents.runtime.process_sharing import SharedProcesses
from agents.runtime.records import Container, RecordFiles, Sandbox
from agents.runtime.spawner import Nursery, NurseryGoneError, SpawnError, new_pipe
from kubraft.log import get_logger
from kubraft.pb.criv1 import api_pb2 as cri

# containerd's: a container that never ran, and how it is called.
_START_ERROR_EXIT_CODE = 128
_START_ERROR_REASON = "StartError"
_OOM_KILLED = "OOMKilled"
_DRAIN_TIMEOUT_S = 2.0
_KILL_TIMEOUT_S = 2.0

_Item = TypeVar("_Item")

log = get_logger("runtime")


class ProcessRuntime:
    """All sandboxes and containers of one node."""

    def __init__(
        self,
        site: Site,
        pod_cidr: str,
        nursery: Nursery,
        images: ImageStore,
        *,
        cgroups: Cgroups,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.images = images
        self.cgroups = cgroups
        self.events = ContainerEvents()
        self.site = site
        self._nursery = nursery
        self._now_ns = now_ns
        self._files = RecordFiles(site.root)
        sandboxes, containers = self._files.load(now_ns())
        self.sandboxes = {sandbox.id: sandbox for sandbox in sandboxes}
        self.containers = {container.id: container for container in containers}
        for container in containers:
            self._files.save_container(container)
        self._addresses = AddressPool(pod_cidr)
        self._sharing = SharedProcesses(nursery, site.root, self._break_sandbox)
        self._tasks: set[asyncio.Task[Any]] = set()

    # Sandboxes

    def run_sandbox(self, config: cri.PodSandboxConfig) -> Sandbox:
        """Make a Pod's sandbox, with an address unless it shares the host's network."""
        metadata = config.metadata
        if not metadata.name or not metadata.uid:
            raise InvalidFailure("sandbox config must include metadata")
        for other in self.sandboxes.values():
            if other.status.metadata == metadata:
                name = "_".join(
                    (metadata.name, metadata.namespace, metadata.uid, str(metadata.attempt))
                )
                raise AlreadyExistsFailure(
                    f'failed to reserve sandbox name "{name}": name "{name}" is reserved for '
                    f'"{other.id}"'
                )
        options = config.linux.security_context.namespace_options
        address = ""
        if options.network != cri.NODE:
            try:
                address = self._addresses.allocate()
            except AddressPoolExhaustedError as error:
                raise ExhaustedFailure(f"failed to setup network for sandbox: {error}") from error
        status = cri.PodSandboxStatus(
            id=secrets.token_hex(32),
            metadata=metadata,
            state=cri.SANDBOX_READY,
            created_at=self._now_ns(),
            network=cri.PodSandboxNetworkStatus(ip=address),
            linux=cri.LinuxPodSandboxStatus(namespaces=cri.Namespace(options=options)),
            labels=config.labels,
            annotations=config.annotations,
        )
        hostname = config.hostname or (os.uname().nodename if not address else metadata.name)
        sandbox = Sandbox(status, hostname[:63], config.log_directory)
        if config.log_directory:
            Path(config.log_directory).mkdir(parents=True, exist_ok=True, mode=0o755)
        write_names(self._files.sandbox_directory(sandbox.id), sandbox.hostname, config.dns_config)
        self._files.save_sandbox(sandbox)
        self.sandboxes[sandbox.id] = sandbox
        self._publish(sandbox.id, sandbox, cri.CONTAINER_CREATED_EVENT)
        self._publish(sandbox.id, sandbox, cri.CONTAINER_STARTED_EVENT)
        return sandbox

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in it and give its address back; unknown and stopped ones are fine."""
        sandbox = self.find_sandbox(sandbox_id)
        if sandbox is None or not sandbox.ready:
            return
        containers = self.containers_of(sandbox.id)
        await asyncio.gather(*(self.stop_container(c.id, timeout_s=0) for c in containers))
        await self._sharing.end(sandbox.id)
        self._break_sandbox(sandbox.id)

    def _break_sandbox(self, sandbox_id: str) -> None:
        """Nothing runs in it, and nothing will."""
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is not None and sandbox.ready:
            sandbox.status.state = cri.SANDBOX_NOTREADY
            if sandbox.status.network.ip:
                self._addresses.release(sandbox.status.network.ip)
            self._files.save_sandbox(sandbox)
            self._publish(sandbox.id, sandbox, cri.CONTAINER_STOPPED_EVENT)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop it if need be, and forget it with its containers; unknown ones are fine."""
        sandbox = self.find_sandbox(sandbox_id)
        if sandbox is None:
            return
        await self.stop_sandbox(sandbox.id)
        for container in self.containers_of(sandbox.id):
            await self.remove_container(container.id)
        if self.sandboxes.pop(sandbox.id, None) is not None:
            self._files.remove_sandbox(sandbox.id)
            self._publish(sandbox.id, sandbox, cri.CONTAINER_DELETED_EVENT)

    def find_sandbox(self, sandbox_id: str) -> Sandbox | None:
        """By id or by an unambiguous beginning of it."""
        return _find(self.sandboxes, sandbox_id)

    def get_sandbox(self, sandbox_id: str) -> Sandbox:
        """As `find_sandbox`, NotFoundFailure where there is none."""
        sandbox = self.find_sandbox(sandbox_id)
        if sandbox is None:
            raise NotFoundFailure(
                f'an error occurred when try to find sandbox "{sandbox_id}": not found'
            )
        return sandbox

    def containers_of(self, sandbox_id: str) -> list[Container]:
        """The containers of a sandbox, oldest first."""
        found = [c for c in self.containers.values() if c.sandbox_id == sandbox_id]
        return sorted(found, key=lambda c: c.status.created_at)

    # Containers

    def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> Container:
        """Prepare a container: everything is checked here, nothing runs yet."""
        sandbox = self.get_sandbox(sandbox_id)
        if not sandbox.ready:
            raise PreconditionFailure(f'sandbox container "{sandbox.id}" is not running')
        if not config.metadata.name:
            raise InvalidFailure("container config must include metadata")
        for other in self.containers_of(sandbox.id):
            if other.status.metadata == config.metadata:
                name = f"{config.metadata.name}_{config.metadata.attempt}"
                raise AlreadyExistsFailure(
                    f'failed to reserve container name "{name}": name "{name}" is reserved for '
                    f'"{other.id}"'
                )
        local = self.images.find(config.image.image)
        if local is None:
            raise NotFoundFailure(f'failed to resolve image "{config.image.image}": not found')
        container_id = secrets.token_hex(32)
        directory = self._files.container_directory(container_id)
        shared = self._files.sandbox_directory(sandbox.id)
        launch = container_launch(
            self.site,
            sandbox,
            config,
            local,
            directory=directory,
            shared=shared,
            joins=self._joined(sandbox, config.linux.security_context.namespace_options),
            cgroups=self.cgroups.directories(container_id),
        )
        log_path = (
            os.path.join(sandbox.log_directory, config.log_path)
            if sandbox.log_directory and config.log_path
            else ""
        )
        status = cri.ContainerStatus(
            id=container_id,
            metadata=config.metadata,
            state=cri.CONTAINER_CREATED,
            created_at=self._now_ns(),
            image=config.image,
            image_ref=local.id,
            image_id=local.id,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=log_path,
            resources=cri.ContainerResources(linux=config.linux.resources),
            stop_signal=config.stop_signal or cri.SIGNAL_SIGTERM,
            user=container_user(launch),
        )
        container = Container(status, sandbox.id, launch=launch)
        make_directories(launch, directory)
        self._files.save_container(container)
        self.containers[container.id] = container
        self._publish(container.id, sandbox, cri.CONTAINER_CREATED_EVENT)
        return container

    def _joined(self, sandbox: Sandbox, options: cri.NamespaceOption) -> str:
        """Whose PID namespace a container is born into: its sandbox's, a container's, or its own.

        Raises:
            InvalidFailure: there is no such container in this sandbox, or it does not run.
        """
        if options.pid == cri.POD:
            return sandbox.id
        if options.pid != cri.TARGET:
            return ""
        target = self.find_container(options.target_id)
        if target is None or target.sandbox_id != sandbox.id or target.process is None:
            raise InvalidFailure(
                f'invalid target container: container "{options.target_id}" does not run in '
                f'sandbox "{sandbox.id}"'
            )
        return target.id

    async def start_container(self, container_id: str) -> None:
        """Start a created container; one that cannot start becomes an exited one."""
        container = self.get_container(container_id)
        sandbox = self.get_sandbox(container.sandbox_id)
        state = container.status.state
        launch = container.launch
        if state != cri.CONTAINER_CREATED or launch is None or container.start is not None:
            name = cri.ContainerState.Name(state)
            raise PreconditionFailure(f'container "{container.id}" is in {name} state')
        if not sandbox.ready:
            raise PreconditionFailure(f'sandbox container "{sandbox.id}" is not running')
        # Not the caller's task: a caller who gives up must leave no process that nobody knows of.
        container.start = self._own(self._start(sandbox, container, launch))
        failure = await asyncio.shield(container.start)
        if failure is not None:
            raise failure

    async def _start(
        self, sandbox: Sandbox, container: Container, launch: Launch
    ) -> RuntimeFailure | None:
        try:
            if launch.isolated and launch.joins == sandbox.id:
                directory = self._files.sandbox_directory(sandbox.id)
                await self._sharing.ensure(sandbox.id, sandbox.hostname, directory)
            self.cgroups.create(container.id, container.status.resources.linux)
            await self._spawn(container, launch)
        except (SpawnError, OSError) as error:
            container.status.started_at = 0
            container.status.message = f"failed to start container process: {error}"
            self._set_exited(container, _START_ERROR_EXIT_CODE, _START_ERROR_REASON)
            return RuntimeFailure(
                f'failed to start container "{container.id}": {container.status.message}'
            )
        except NurseryGoneError as error:
            return RuntimeFailure(str(error))
        return None

    async def _spawn(self, container: Container, launch: Launch) -> None:
        """Start the processes, connect the log, and watch for the end."""
        log_file = LogFile(container.status.log_path)
        with contextlib.ExitStack() as stack:
            streams, child_fds, stdin_write = _open_streams(tty=launch.tty, stdin=launch.stdin)
            for fd in set(child_fds):
                stack.callback(os.close, fd)
            container.pump = LogPump(log_file, streams, self._now_ns)
            container.stdin_write = stdin_write
            try:
                launch_fd = launch.to_memory_file()
                stack.callback(os.close, launch_fd)
                container.process = await self._nursery.spawn(container.id, (launch_fd, *child_fds))
            except BaseException:
                await container.pump.finish(0)
                container.close_input()
                raise
        container.status.state = cri.CONTAINER_RUNNING
        container.status.started_at = self._now_ns()
        self._files.save_container(container)
        self._publish(
            container.id, self.sandboxes.get(container.sandbox_id), cri.CONTAINER_STARTED_EVENT
        )
        self._own(self._watch_exit(container))

    async def _watch_exit(self, container: Container) -> None:
        """Record the end of a running container, once its last output is in the log."""
        assert container.process is not None
        assert container.pump is not None
        code = await container.process.exited
        await container.pump.finish(_DRAIN_TIMEOUT_S)
        container.close_input()
        reason = "Completed" if code == 0 else "Error"
        if code != 0 and self.cgroups.oom_kills(container.id) > 0:
            reason = _OOM_KILLED
        self._set_exited(container, code, reason)

    def _set_exited(self, container: Container, code: int, reason: str) -> None:
        container.process = None
        container.pump = None
        self.cgroups.remove(container.id)
        status = container.status
        status.state = cri.CONTAINER_EXITED
        status.exit_code, status.reason = code, reason
        status.finished_at = self._now_ns()
        if container.id in self.containers:
            self._files.save_container(container)
        sandbox = self.sandboxes.get(container.sandbox_id)
        self._publish(container.id, sandbox, cri.CONTAINER_STOPPED_EVENT)
        container.ended.set()

    async def stop_container(self, container_id: str, *, timeout_s: float) -> None:
        """Ask it to stop, and kill all of it after `timeout_s`; unknown ones are fine."""
        container = self.find_container(container_id)
        if container is None:
            return
        if container.start is not None:
            await asyncio.wait({container.start})
        process = container.process
        if process is None:
            return
        if timeout_s > 0:
            process.kill(_signal_number(container.status.stop_signal))
            if await _within(process.exited, timeout_s):
                await container.ended.wait()
                return
        process.kill_all()
        if not await _within(process.exited, _KILL_TIMEOUT_S):
            process.destroy()
        if not await _within(process.exited, _KILL_TIMEOUT_S):
            raise RuntimeFailure(f'failed to kill container "{container.id}": it does not die')
        await container.ended.wait()

    async def remove_container(self, container_id: str) -> None:
        """Kill it if need be, and forget it with its files; unknown ones are fine."""
        container = self.find_container(container_id)
        if container is None:
            return
        await self.stop_container(container.id, timeout_s=0)
        if self.containers.pop(container.id, None) is None:
            return
        self.cgroups.remove(container.id)
        self._files.remove_container(container.id)
        sandbox = self.sandboxes.get(container.sandbox_id)
        self._publish(container.id, sandbox, cri.CONTAINER_DELETED_EVENT)

    def update_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        """Give a container other limits, now where it runs, else when it starts."""
        container = self.get_container(container_id)
        if container.process is not None and self.cgroups.available:
            self.cgroups.update(container.id, resources)
        container.status.resources.linux.CopyFrom(resources)
        self._files.save_container(container)

    def find_container(self, container_id: str) -> Container | None:
        """By id or by an unambiguous beginning of it."""
        return _find(self.containers, container_id)

    def get_container(self, container_id: str) -> Container:
        """As `find_container`, NotFoundFailure where there is none."""
        container = self.find_container(container_id)
        if container is None:
            raise NotFoundFailure(
                f'an error occurred when try to find container "{container_id}": not found'
            )
        return container

    def get_running(self, container_id: str) -> Container:
        """A container that runs, else PreconditionFailure."""
        container = self.get_container(container_id)
        if container.process is None or container.status.state != cri.CONTAINER_RUNNING:
            name = cri.ContainerState.Name(container.status.state)
            raise PreconditionFailure(f'container "{container.id}" is in {name} state')
        return container

    # Both

    def _publish(self, container_id: str, sandbox: Sandbox | None, kind: Any) -> None:
        if not self.events.wanted:
            return
        event = cri.ContainerEventResponse(
            container_id=container_id,
            container_event_type=kind,
            created_at=self._now_ns(),
        )
        if sandbox is not None:
            event.pod_sandbox_status.CopyFrom(sandbox.status)
            event.containers_statuses.extend(c.status for c in self.containers_of(sandbox.id))
        self.events.publish(event)

    def _own(self, work: Coroutine[Any, Any, _Item]) -> asyncio.Task[_Item]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a container's task failed", error=repr(error))

    async def close(self) -> None:
        """Kill every container and wait until each end is recorded."""
        running = [c for c in self.containers.values() if c.process is not None]
        for container in running:
            if container.process is not None:
                container.process.kill_all()
        await self._sharing.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_KILL_TIMEOUT_S)
        for task in list(self._tasks):
            task.cancel()


def _find(items: dict[str, _Item], wanted: str) -> _Item | None:
    if wanted in items:
        return items[wanted]
    matches = [item for key, item in items.items() if wanted and key.startswith(wanted)]
    return matches[0] if len(matches) == 1 else None


def _open_streams(*, tty: bool, stdin: bool) -> tuple[dict[bytes, int], tuple[int, int, int], int]:
    """Make the container's streams.

    Returns:
        The ends to read, by stream; the three that the container gets; the end that keeps its
        input open, and to write to it or to its terminal, or -1.
    """
    if tty:
        controller, terminal = os.openpty()
        os.set_blocking(controller, False)
        return {b"stdout": controller}, (terminal, terminal, terminal), os.dup(controller)
    out_read, out_write = new_pipe()
    err_read, err_write = new_pipe()
    streams = {b"stdout": out_read, b"stderr": err_read}
    if stdin:
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(in_write, False)
        return streams, (in_read, out_write, err_write), in_write
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return streams, (null, out_write, err_write), -1


async def _within(exited: asyncio.Future[int], timeout_s: float) -> bool:
    done, _pending = await asyncio.wait({exited}, timeout=timeout_s)
    return bool(done)


def _signal_number(stop_signal: Any) -> int:
    """The host's number of a CRI signal name; SIGTERM where there is none."""
    name = cri.Signal.Name(stop_signal).removeprefix("SIGNAL_")
    name = {"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}.get(name, name)
    base, plus, offset = name.partition("PLUS")
    if plus:
        return int(signal.Signals[base]) + int(offset)
    base, minus, offset = name.partition("MINUS")
    if minus:
        return int(signal.Signals[base]) - int(offset)
    return int(getattr(signal.Signals, name, signal.SIGTERM))
