"""Eviction: deletes a Pod where its PodDisruptionBudget lets it go.

A Pod that serves nobody yet, or no longer, goes at once. Else the budget's count of allowed
disruptions is lowered first, in one write that fails where another eviction was faster.

Source: Kubernetes documentation, "API-initiated eviction"; upstream's texts.
"""

from __future__ import annotations

from dataclasses import replace

from apiserver.registry import failures
from apiserver.registry.call import Call, DeleteOptions, WriteOptions
from apiserver.registry.delete import delete_authorized
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.update import patch
from apiserver.storage.reads import ListOptions
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.errors import (
    Cause,
    ConflictError,
    ForbiddenError,
    InternalError,
    TooManyRequestsError,
)
from kubraft.api.gvk import POD_DISRUPTION_BUDGET
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object
from kubraft.api.pods import is_pod_ready

ATTEMPTS_MAX = 20
DISRUPTED_PODS_MAX = 2000
# A client asks again after so long where the budget's controller has yet to look.
RETRY_AFTER_S = 10
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_GONE_PHASES = ("Succeeded", "Failed")
_CONDITION = "DisruptionAllowed"


async def evict(machinery: Machinery, policy: Policy, call: Call, options: DeleteOptions) -> None:
    """Delete the Pod of `call`, who may do so.

    Raises:
        TooManyRequestsError: its budget does not allow it now.
        InternalError: it has more than one budget.
        NotFoundError, ConflictError: as of any delete.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        pod = await _pod(machinery, call)
        if not _unprotected(pod):
            break
        asked = options
        if not _is_over(pod) and not options.resource_version:
            # It may have become one that a budget protects since.
            asked = replace(options, resource_version=pod["metadata"]["resourceVersion"])
        try:
            await delete_authorized(machinery, policy, call, asked)
        except ConflictError:
            if options.resource_version or attempt == ATTEMPTS_MAX:
                raise
        else:
            return
    await _evict_protected(machinery, policy, call, pod, options)


async def _evict_protected(
    machinery: Machinery, policy: Policy, call: Call, pod: Object, options: DeleteOptions
) -> None:
    budgets = await _budgets(machinery, call, pod)
    if len(budgets) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support."
        )
    if not budgets:
        await delete_authorized(machinery, policy, call, options)
        return
    budget = budgets[0]
    if not _goes_uncounted(pod, budget):
        await _lower(machinery, policy, call, budget, options)
        await delete_authorized(machinery, policy, call, options)
        return
    asked = options
    if not options.resource_version:
        asked = replace(options, resource_version=pod["metadata"]["resourceVersion"])
    try:
        await delete_authorized(machinery, policy, call, asked)
    except ConflictError as error:
        if options.resource_version:
            raise
        raise _in_progress(budget) from error


async def _pod(machinery: Machinery, call: Call) -> Object:
    entry = await machinery.reads.get(call.resource.prefix, call.key)
    if entry is None:
        raise failures.not_found(call.resource, call.name)
    return entry.decode()


async def _budgets(machinery: Machinery, call: Call, pod: Object) -> list[Object]:
    resource = machinery.resources[POD_DISRUPTION_BUDGET]
    within = resource.within(call.namespace)
    listing = await machinery.reads.list(resource.prefix, within, ListOptions())
    labels = pod["metadata"].get("labels") or {}
    return [
        budget for budget in (entry.view() for entry in listing.entries) if _selects(budget, labels)
    ]


def _selects(budget: Object, labels: dict[str, str]) -> bool:
    try:
        selector = selector_from_object((budget.get("spec") or {}).get("selector"))
    except ValueError:
        return False
    return not selector.is_everything() and selector.matches(labels)


def _is_over(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in _GONE_PHASES or bool(pod["metadata"].get("deletionTimestamp"))


def _unprotected(pod: Object) -> bool:
    return _is_over(pod) or (pod.get("status") or {}).get("phase") == "Pending"


def _goes_uncounted(pod: Object, budget: Object) -> bool:
    """A Pod that is not ready counts for nothing, where enough others are."""
    if is_pod_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    wanted = status.get("desiredHealthy", 0)
    return bool(status.get("currentHealthy", 0) >= wanted > 0)


async def _lower(
    machinery: Machinery, policy: Policy, call: Call, budget: Object, options: DeleteOptions
) -> None:
    def lowered(obj: Object) -> Object:
        _check(obj)
        status = obj["status"]
        status["disruptionsAllowed"] -= 1
        if not status["disruptionsAllowed"]:
            condition = {
                "type": _CONDITION,
                "status": "False",
                "reason": "InsufficientPods",
                "message": "",
                "observedGeneration": status.get("observedGeneration", 0),
            }
            now = machinery.clock.now()
            status["conditions"] = with_condition(status.get("conditions"), condition, now)
        pods = status.get("disruptedPods") or {}
        status["disruptedPods"] = {**pods, call.name: machinery.now()}
        return obj

    resource = machinery.resources[POD_DISRUPTION_BUDGET]
    name = budget["metadata"]["name"]
    whole = Call(call.user, resource, call.namespace, name, "status")
    trusted = WriteOptions(dry_run=options.dry_run, trusted=True)
    await patch(machinery, policy, whole, lowered, trusted)


def _check(budget: Object) -> None:
    """Raises where the budget allows no disruption."""
    status, metadata = budget.get("status") or {}, budget["metadata"]
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _in_progress(budget)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > DISRUPTED_PODS_MAX:
        raise _forbidden(
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed:
        return
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    text = f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
    condition = find_condition(conditions_of(budget), _CONDITION)
    if condition is not None and condition.get("reason") == "SyncFailed":
        text = (
            f"The disruption budget {name} does not allow evicting pods currently because it "
            f"failed sync: {condition.get('message', '')}"
        )
    raise TooManyRequestsError(_VIOLATES, causes=[Cause("DisruptionBudget", text, "")])


def _in_progress(budget: Object) -> TooManyRequestsError:
    name = budget["metadata"]["name"]
    text = f"The disruption budget {name} is still being processed by the server."
    cause = Cause("DisruptionBudget", text, "")
    return TooManyRequestsError(_VIOLATES, causes=[cause], retry_after_s=RETRY_AFTER_S)


def _forbidden(name: str, why: str) -> ForbiddenError:
    return ForbiddenError(
        f'poddisruptionbudget.policy "{name}" is forbidden: {why}',
        group=POD_DISRUPTION_BUDGET.group,
        kind="poddisruptionbudget",
        name=name,
    )
