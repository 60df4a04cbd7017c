"""A Pod's phase, from its spec and the statuses of its containers. Pure.

Source: Kubernetes documentation, "Pod Lifecycle", "Pod phase".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.node.restart_policy import should_restart
from kubraft.api.pods import is_sidecar

_Status = Mapping[str, Any]


def runs(status: _Status) -> bool:
    """Whether this container runs."""
    return "running" in status["state"]


def ended(status: _Status) -> bool:
    """Whether it has ended, and nothing is known of another life."""
    return "terminated" in status["state"]


def ended_before(status: _Status) -> bool:
    """Whether a former life has ended."""
    return "terminated" in (status.get("lastState") or {})


def succeeded(status: _Status) -> bool:
    """Whether one that has ended did so with exit code 0."""
    return bool(status["state"]["terminated"].get("exitCode") == 0)


def pod_phase(spec: Mapping[str, Any], status: Mapping[str, Any], *, over: bool) -> str:
    """The phase of a Pod that has not reached its last one.

    Args:
        spec: the Pod's.
        status: has containerStatuses and initContainerStatuses, an entry for each container.
        over: it is being deleted and nothing runs any more, so that nothing is restarted.
    """
    policy = spec.get("restartPolicy") or "Always"
    statuses = list(status.get("containerStatuses") or ())
    began = any(ended(s) or runs(s) or ended_before(s) for s in statuses)
    pending = False
    by_name = {s["name"]: s for s in status.get("initContainerStatuses") or ()}
    for container in spec.get("initContainers") or ():
        own = by_name[container["name"]]
        if is_sidecar(container):
            coming = runs(own) and not own["started"]
            pending |= not began and (coming or _is_new(own))
            continue
        code = _last_code(own)
        if code and not should_restart(container, policy, code):
            return "Failed"
        pending |= runs(own) or code is None
    if pending and not (over and began):
        return "Pending"
    return _of_main(spec, statuses, policy, over=over)


def _of_main(spec: Mapping[str, Any], statuses: list[_Status], policy: str, *, over: bool) -> str:
    stopped = [s for s in statuses if not runs(s) and (ended(s) or ended_before(s))]
    if any(map(_is_new, statuses)):
        return "Failed" if over and len(stopped) > 0 else "Pending"
    if any(map(runs, statuses)):
        return "Running"
    containers = {c["name"]: c for c in spec["containers"]}
    again = any(should_restart(containers[s["name"]], policy, _last_code(s) or 0) for s in stopped)
    if again and not over:
        return "Running"
    return "Succeeded" if all(ended(s) and succeeded(s) for s in stopped) else "Failed"


def _is_new(status: _Status) -> bool:
    return not (runs(status) or ended(status) or ended_before(status))


def _last_code(status: _Status) -> int | None:
    """The exit code of the last life that has ended; None where there is none."""
    for state in (status["state"], status.get("lastState") or {}):
        if "terminated" in state:
            return int(state["terminated"].get("exitCode") or 0)
    return None
