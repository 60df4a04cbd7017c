"""A Pod's status, computed from its spec, the runtime's picture and what this agent knows.

Pure. What others wrote into the status (their conditions) is kept.

Source: Kubernetes documentation, "Pod Lifecycle"; API reference, PodStatus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.node.allocation import Allocation, resize_conditions
from agents.node.phase import ended, ended_before, pod_phase, runs, succeeded
from agents.node.plan import Waiting
from agents.node.pod_view import ContainerView, PodView, moment
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_sidecar, is_terminated, qos_class
from kubraft.api.time import format_time

Status = dict[str, Any]
_RESIZE_TYPES = ("PodResizePending", "PodResizeInProgress")


@dataclass(frozen=True, slots=True)
class Observed:
    """What the status is made of, beside the Pod."""

    view: PodView
    host_ip: str
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    hooking: frozenset[str] = frozenset()  # container ids whose postStart hook runs
    ready: Callable[[str], bool] = lambda _id: True  # container id -> readiness probe's answer
    started: Callable[[str], bool] = lambda _id: True
    messages: Mapping[str, str] = field(default_factory=dict)  # container id -> termination message
    ended: Waiting | None = None  # the Pod failed as a whole: rejected, past its deadline
    runtime_name: str = "process"
    allocation: Allocation = field(default_factory=Allocation)
    disruption: bool = False  # `ended` is the node's doing


def pod_status(pod: Object, observed: Observed, now: datetime) -> Status:
    """The whole `status` of `pod`."""
    old: Status = pod.get("status") or {}
    spec = pod["spec"]
    status = dict(old)
    status["observedGeneration"] = pod["metadata"].get("generation", 0)
    status.setdefault("startTime", format_time(now))
    if _never_began(pod, observed):
        return status | _failure(pod, observed)
    status["hostIP"] = observed.host_ip
    status["hostIPs"] = [{"ip": observed.host_ip}]
    status.setdefault("qosClass", qos_class(pod))
    has_init = bool(spec.get("initContainers"))
    lists = (
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    )
    for kind, name in lists:
        if containers := spec.get(kind):
            former = {s["name"]: s for s in old.get(name) or ()}
            status[name] = [
                _container_status(pod, c, observed, former.get(c["name"]), has_init=has_init)
                for c in containers
            ]
    address = _address(spec, observed)
    if address:
        status["podIP"] = address
        status["podIPs"] = [{"ip": address}]
    phase = _phase(pod, status, observed)
    status["phase"] = phase
    for name in ("reason", "message"):
        if not is_terminated(pod):
            status.pop(name, None)
    if (why := _ended(observed)) is not None:
        status["reason"], status["message"] = why.reason, why.message
    status["conditions"] = _conditions(pod, status, observed, phase, now)
    return status


def _never_began(pod: Object, observed: Observed) -> bool:
    """Whether the Pod ended before anything of it was made: of its containers nothing is said.

    So those who look at it see the reason, and not the state of what will never be.
    """
    ended = is_terminated(pod) or observed.ended is not None
    known = (pod.get("status") or {}).get("containerStatuses")
    return ended and observed.view.empty and not known


def _failure(pod: Object, observed: Observed) -> Status:
    why = observed.ended
    found: Status = {"qosClass": qos_class(pod)}
    if why is not None and not is_terminated(pod):
        found |= {"phase": "Failed", "reason": why.reason, "message": why.message}
    return found


def _address(spec: Mapping[str, Any], observed: Observed) -> str:
    if spec.get("hostNetwork"):
        return observed.host_ip if observed.view.sandboxes else ""
    for sandbox in observed.view.sandboxes:
        return sandbox.address
    return ""


# Containers


def _container_status(
    pod: Object,
    container: Mapping[str, Any],
    observed: Observed,
    former: Mapping[str, Any] | None,
    *,
    has_init: bool,
) -> Status:
    name = container["name"]
    life = observed.view.newest(name)
    if life is None:
        return _without_life(pod, container, observed, former, has_init=has_init)
    previous = observed.view.previous(name)
    state = _state(life, observed)
    last: Status = {}
    waiting = observed.waiting.get(name)
    if waiting is not None and not life.running:
        if life.exited:
            last = state
        elif previous is not None:
            last = _state(previous, observed)
        state = {"waiting": {"reason": waiting.reason, "message": waiting.message}}
    elif previous is not None:
        last = _state(previous, observed)
    init = not is_sidecar(container) and container in (pod["spec"].get("initContainers") or ())
    hooking = life.id in observed.hooking
    if life.running and hooking:
        state = {"waiting": {"reason": "PodInitializing" if has_init else "ContainerCreating"}}
    started = life.running and not hooking and observed.started(life.id)
    if container in (pod["spec"].get("ephemeralContainers") or ()):
        started = ready = False  # nobody waits for them
    elif init:
        ready = life.exited and life.exit_code == 0
    else:
        ready = life.running and started and observed.ready(life.id)
    return {
        **_mounts(container),
        **_resources(life, observed.allocation),
        **_of_life(life),
        "name": name,
        "image": life.image or container.get("image", ""),
        "imageID": life.image_id,
        "containerID": f"{observed.runtime_name}://{life.id}",
        "restartCount": life.attempt,
        "ready": ready,
        "started": started,
        "state": state,
        "lastState": last,
    }


def _without_life(
    pod: Object,
    container: Mapping[str, Any],
    observed: Observed,
    former: Mapping[str, Any] | None,
    *,
    has_init: bool,
) -> Status:
    """A container that the runtime does not have: not made yet, or forgotten after its end."""
    name = container["name"]
    if former is not None and "terminated" in (former.get("state") or {}):
        return {**former, "ready": False, "started": False}
    if (
        former is not None
        and former.get("containerID")
        and (is_terminated(pod) or is_terminating(pod) or observed.ended)
    ):
        ended = {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
        }
        return {**former, "ready": False, "started": False, "state": {"terminated": ended}}
    default = Waiting("PodInitializing" if has_init else "ContainerCreating", "")
    waiting = observed.waiting.get(name, default)
    state = {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}
    return {
        **_mounts(container),
        "name": name,
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": (former or {}).get("restartCount", 0),
        "ready": False,
        "started": False,
        "state": {"waiting": state},
        "lastState": (former or {}).get("lastState") or {},
    }


def _resources(life: ContainerView, allocation: Allocation) -> Status:
    """What a container has, and what it has been given; a debug container has nothing."""
    given = allocation.allocated.get(life.name)
    if given is None:
        return {}
    actual = allocation.actual.get(life.id, given) if life.running else given
    requests = given.get("requests")
    return {"resources": actual, **({"allocatedResources": requests} if requests else {})}


def _of_life(life: ContainerView) -> Status:
    """What the runtime says of who runs, and of how it is told to stop."""
    found: Status = {"stopSignal": life.stop_signal} if life.stop_signal else {}
    if life.user is not None:
        uid, gid, groups = life.user
        linux: Status = {"uid": uid, "gid": gid}
        if groups:
            linux["supplementalGroups"] = list(groups)
        found["user"] = {"linux": linux}
    return found


def _mounts(container: Mapping[str, Any]) -> Status:
    mounts = [
        {
            "name": mount["name"],
            "mountPath": mount["mountPath"],
            **(
                {"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {}
            ),
        }
        for mount in container.get("volumeMounts") or ()
    ]
    return {"volumeMounts": mounts} if mounts else {}


def _state(life: ContainerView, observed: Observed) -> Status:
    if life.running:
        return {"running": {"startedAt": format_time(moment(life.started_at_ns))}}
    if life.exited:
        ended: Status = {
            "exitCode": life.exit_code,
            "reason": life.reason or ("Completed" if life.exit_code == 0 else "Error"),
            "finishedAt": format_time(moment(life.finished_at_ns)),
            "containerID": f"{observed.runtime_name}://{life.id}",
        }
        # A program that could not be started has no start.
        ended["startedAt"] = format_time(moment(life.started_at_ns))
        if message := observed.messages.get(life.id) or life.message:
            ended["message"] = message
        return {"terminated": ended}
    return {"waiting": {"reason": "ContainerCreating"}}


def _ended(observed: Observed) -> Waiting | None:
    """Why the Pod has failed as a whole; not before the last of its containers has ended."""
    return None if observed.view.running else observed.ended


def _phase(pod: Object, status: Status, observed: Observed) -> str:
    if is_terminated(pod):
        return str(pod["status"]["phase"])
    if _ended(observed) is not None:
        return "Failed"
    over = is_terminating(pod) and not observed.view.running
    return pod_phase(pod["spec"], status, over=over)


# Conditions


def _conditions(
    pod: Object, status: Status, observed: Observed, phase: str, now: datetime
) -> list[dict[str, Any]]:
    generation = pod["metadata"].get("generation", 0)
    conditions = conditions_of(pod)
    sandbox_ready = observed.view.sandbox is not None
    containers = _containers_ready(pod, status, phase)
    for type_, answer in (
        ("PodReadyToStartContainers", (sandbox_ready, "", "")),
        ("Initialized", _initialized(pod, status, phase)),
        ("Ready", _pod_ready(pod, containers, conditions)),
        ("ContainersReady", containers),
        ("PodScheduled", (True, "", "")),
    ):
        true, reason, message = answer
        condition: dict[str, Any] = {
            "type": type_,
            "status": "True" if true else "False",
            "lastProbeTime": None,
            "observedGeneration": generation,
        }
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        conditions = with_condition(conditions, condition, now)
    if observed.disruption and observed.ended is not None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": observed.ended.message,
            "observedGeneration": generation,
            "lastProbeTime": None,
        }
        conditions = with_condition(conditions, condition, now)
    return _with_resize(pod, conditions, observed, now)


def _with_resize(
    pod: Object, conditions: list[dict[str, Any]], observed: Observed, now: datetime
) -> list[dict[str, Any]]:
    resize = [] if is_terminated(pod) else resize_conditions(pod, observed.allocation)
    true = {condition["type"] for condition in resize}
    kept = [c for c in conditions if c["type"] not in {*_RESIZE_TYPES} - true]
    for condition in resize:
        kept = with_condition(kept, {"lastProbeTime": None, **condition}, now)
    return kept


_Answer = tuple[bool, str, str]


def _initialized(pod: Object, status: Status, phase: str) -> _Answer:
    spec = pod["spec"]
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    sidecars = {c["name"] for c in spec.get("initContainers") or () if is_sidecar(c)}
    incomplete = [
        s["name"]
        for s in status.get("initContainerStatuses") or ()
        if not (s["started"] if s["name"] in sidecars else ended(s) and succeeded(s))
    ]
    main_began = any(
        ended(s) or runs(s) or ended_before(s) for s in status.get("containerStatuses") or ()
    )
    if not incomplete or main_began:
        return True, "", ""
    names = " ".join(incomplete)
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{names}]"


def _containers_ready(pod: Object, status: Status, phase: str) -> _Answer:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    sidecars = {c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar(c)}
    unready = _unready(status.get("containerStatuses") or (), None)
    unready = _unready(status.get("initContainerStatuses") or (), sidecars) + unready
    if not unready:
        return True, "", ""
    names = " ".join(unready)
    return False, "ContainersNotReady", f"containers with unready status: [{names}]"


def _unready(statuses: Iterable[Mapping[str, Any]], only: set[str] | None) -> list[str]:
    return [s["name"] for s in statuses if not s["ready"] and (only is None or s["name"] in only)]


def _pod_ready(pod: Object, containers: _Answer, conditions: list[dict[str, Any]]) -> _Answer:
    if not containers[0]:
        return containers
    missing = []
    for gate in pod["spec"].get("readinessGates") or ():
        condition = find_condition(conditions, gate["conditionType"])
        if condition is None:
            missing.append(
                f'corresponding condition of pod readiness gate "{gate["conditionType"]}" '
                "does not exist."
            )
        elif condition.get("status") != "True":
            missing.append(
                f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", '
                f"but {condition.get('status')}"
            )
    if missing:
        return False, "ReadinessGatesNotReady", "; ".join(missing)
    return True, "", ""
