"""How Pods print: the status that tells a person what is going on.

Source: the columns of `kubectl get pods`; upstream's Pod printer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apiserver.registry.cells import AGE, NAME, NONE, created, joined, wide
from apiserver.registry.resource import Column, Columns
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.duration import age
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_sidecar

Json = dict[str, Any]


def _reason(pod: Object) -> str:
    """What stands in the STATUS column."""
    status = pod.get("status") or {}
    shown = status.get("reason") or status.get("phase") or "Unknown"
    scheduled = find_condition(conditions_of(pod), "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        shown = "SchedulingGated"
    init = _init_reason(pod)
    shown = init if init is not None else _container_reason(pod, shown)
    if is_terminating(pod):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(shown)


def _init_reason(pod: Object) -> str | None:
    """The reason while init containers run; None when they are done."""
    specs = {c["name"]: c for c in pod["spec"].get("initContainers") or ()}
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    for index, container in enumerate(statuses):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if is_sidecar(specs.get(container.get("name"), {})) and container.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(specs)}"
    return None


def _container_reason(pod: Object, shown: str) -> str:
    running = False
    for container in reversed((pod.get("status") or {}).get("containerStatuses") or ()):
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            shown = waiting["reason"]
        elif terminated is not None:
            shown = _ended(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
    if shown == "Completed" and running:
        ready = find_condition(conditions_of(pod), "Ready")
        return "Running" if ready and ready.get("status") == "True" else "NotReady"
    return shown


def _ended(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _counts(pod: Object, now: datetime) -> tuple[str, str]:
    """READY and RESTARTS."""
    status, spec = pod.get("status") or {}, pod["spec"]
    sidecars = {c["name"] for c in spec.get("initContainers") or () if is_sidecar(c)}
    statuses = list(status.get("containerStatuses") or ())
    statuses += [s for s in status.get("initContainerStatuses") or () if s.get("name") in sidecars]
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = sum(bool(s.get("ready")) for s in statuses)
    if _init_reason(pod) is not None:  # until they are done, it is the init containers that count
        statuses = list(status.get("initContainerStatuses") or ())
    restarts = sum(s.get("restartCount", 0) for s in statuses)
    last = max(
        (
            moment
            for s in statuses
            if (moment := ((s.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
        ),
        default=None,
    )
    shown = f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)
    return f"{ready}/{total}", shown


def _cells(pod: Object, now: datetime) -> list[Any]:
    status = pod.get("status") or {}
    ready, restarts = _counts(pod, now)
    addresses = [a.get("ip") for a in status.get("podIPs") or ()]
    gates = pod["spec"].get("readinessGates") or ()
    true = {c.get("type") for c in conditions_of(pod) if c.get("status") == "True"}
    met = sum(gate.get("conditionType") in true for gate in gates)
    return [
        pod["metadata"]["name"],
        ready,
        _reason(pod),
        restarts,
        created(pod, now),
        addresses[0] if addresses else status.get("podIP") or NONE,
        joined([pod["spec"]["nodeName"]] if pod["spec"].get("nodeName") else ()),
        status.get("nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


POD = Columns(
    (
        NAME,
        Column("Ready", description="Containers that are ready, of all."),
        Column("Status", description="What the Pod is doing."),
        Column("Restarts", description="How often containers were started again."),
        AGE,
        *wide("IP", "Node", "Nominated Node", "Readiness Gates"),
    ),
    _cells,
)
