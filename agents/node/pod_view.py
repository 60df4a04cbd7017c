"""What the container runtime has of one Pod, as plain values: the input of plans and of status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kubraft.pb.criv1 import api_pb2 as cri

# Labels and annotations are upstream's kubelet's, so that other tools find their way.
POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
SPEC_HASH = "io.kubernetes.container.hash"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"

CREATED, RUNNING, EXITED = "created", "running", "exited"
_STATES = {
    cri.CONTAINER_CREATED: CREATED,
    cri.CONTAINER_RUNNING: RUNNING,
    cri.CONTAINER_EXITED: EXITED,
}


@dataclass(frozen=True, slots=True)
class SandboxView:
    """One sandbox of the Pod."""

    id: str
    attempt: int
    ready: bool
    address: str
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container of the Pod, or one of its former lives."""

    id: str
    name: str
    attempt: int
    sandbox_id: str
    state: str  # CREATED, RUNNING, EXITED, or "unknown"
    created_at_ns: int = 0
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""  # as the Pod names it
    image_id: str = ""
    spec_hash: str = ""
    log_path: str = ""
    stop_signal: str = ""  # as SIGTERM; "": the runtime does not say
    user: tuple[int, int, tuple[int, ...]] | None = None  # uid, gid, all groups

    @property
    def running(self) -> bool:
        """Whether its program runs."""
        return self.state == RUNNING

    @property
    def exited(self) -> bool:
        """Whether its program has ended."""
        return self.state == EXITED


@dataclass(frozen=True, slots=True)
class PodView:
    """All of a Pod in the runtime, newest first."""

    sandboxes: tuple[SandboxView, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    grace_period_s: int | None = None  # as the last sandbox's Pod had it

    @property
    def empty(self) -> bool:
        """Whether nothing is left of the Pod."""
        return not self.sandboxes and not self.containers

    @property
    def sandbox(self) -> SandboxView | None:
        """The sandbox in use: the newest, if it is ready."""
        newest = self.sandboxes[0] if self.sandboxes else None
        return newest if newest and newest.ready else None

    @property
    def running(self) -> tuple[ContainerView, ...]:
        """The containers whose program runs."""
        return tuple(c for c in self.containers if c.running)

    def newest(self, name: str, sandbox_id: str = "") -> ContainerView | None:
        """The newest life of container `name`, of one sandbox if that is given."""
        for container in self.containers:
            if container.name == name and sandbox_id in ("", container.sandbox_id):
                return container
        return None

    def previous(self, name: str) -> ContainerView | None:
        """The newest ended life of container `name` before its newest one."""
        newest = self.newest(name)
        for container in self.containers:
            if container.name == name and container is not newest and container.exited:
                return container
        return None


def pod_view(
    sandboxes: Iterable[cri.PodSandboxStatus], containers: Iterable[tuple[str, cri.ContainerStatus]]
) -> PodView:
    """Bring the runtime's answers into order; `containers` come with their sandbox's id."""
    statuses = sorted(sandboxes, key=lambda s: (s.metadata.attempt, s.created_at), reverse=True)
    found = [_container(sandbox_id, status) for sandbox_id, status in containers]
    found.sort(key=lambda c: (c.attempt, c.created_at_ns), reverse=True)
    grace = statuses[0].annotations.get(GRACE_PERIOD) if statuses else None
    return PodView(
        sandboxes=tuple(_sandbox(status) for status in statuses),
        containers=tuple(found),
        grace_period_s=int(grace) if grace and grace.isdigit() else None,
    )


def _sandbox(status: cri.PodSandboxStatus) -> SandboxView:
    return SandboxView(
        id=status.id,
        attempt=status.metadata.attempt,
        ready=status.state == cri.SANDBOX_READY,
        address=status.network.ip,
        created_at_ns=status.created_at,
    )


def _container(sandbox_id: str, status: cri.ContainerStatus) -> ContainerView:
    return ContainerView(
        id=status.id,
        name=status.labels.get(CONTAINER_NAME, status.metadata.name),
        attempt=status.metadata.attempt,
        sandbox_id=sandbox_id,
        state=_STATES.get(status.state, "unknown"),
        created_at_ns=status.created_at,
        started_at_ns=status.started_at,
        finished_at_ns=status.finished_at,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.user_specified_image or status.image.image,
        image_id=status.image_id or status.image_ref,
        spec_hash=status.annotations.get(SPEC_HASH, ""),
        log_path=status.log_path,
        stop_signal=_stop_signal(status.stop_signal),
        user=_user(status.user),
    )


def _stop_signal(number: cri.Signal.ValueType) -> str:
    if number == cri.SIGNAL_RUNTIME_DEFAULT:
        return ""
    name = cri.Signal.Name(number).removeprefix("SIGNAL_")
    return name.replace("PLUS", "+").replace("MINUS", "-")


def _user(user: cri.ContainerUser) -> tuple[int, int, tuple[int, ...]] | None:
    if not user.HasField("linux"):
        return None
    return user.linux.uid, user.linux.gid, tuple(user.linux.supplemental_groups)


def moment(time_ns: int) -> datetime:
    """A CRI time as UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC)
