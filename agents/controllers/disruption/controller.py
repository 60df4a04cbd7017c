"""Keeps the status of PodDisruptionBudgets, so that evictions know what they may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.controllers.context import Context
from agents.controllers.disruption.budget import counts_scales, failed, read
from agents.controllers.status import same_status
from kubraft.api.errors import ApiError, ServiceUnavailableError, TimeoutError_
from kubraft.api.gvk import (
    DEPLOYMENT,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    GroupVersionKind,
    parse_api_version,
)
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, ObjectKey, controller_of, key_of, labels_of, uid_of
from kubraft.api.pods import is_pod_ready
from kubraft.client.controller import Controller

_SCALED = (DEPLOYMENT, REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET)
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. "
    "As a result, the status of the PDB cannot be calculated correctly, which may result in "
    'undefined behavior. To account for these pods please set ".spec.minAvailable" field of the '
    "PDB to an integer value."
)


class _NoScaleError(Exception):
    """Nobody can say how many Pods there should be."""


class DisruptionController:
    """Reconciles one budget at a time per worker, by key.

    Between a read and the write of a status an eviction may lower it: the write then conflicts, as
    it is made at exactly the version that was read, and the budget is looked at again.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("controllermanager")
        self._budgets = context.informers.of(POD_DISRUPTION_BUDGET)
        self._pods = context.informers.of(POD)
        self._owners = {gvk: context.informers.of(gvk) for gvk in _SCALED}
        self._controller = Controller("disruption-controller", self.reconcile, clock=context.clock)
        self._budgets.add_handler(self._on_budget)
        self._pods.add_handler(self._on_pod)
        for gvk in _SCALED:
            self._owners[gvk].add_handler(self._on_owner)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Report on the budget; returns when to look again, if no event comes."""
        budget = self._budgets.get(key)
        if budget is None:
            return None
        pods = [pod for pod in self._pods.list(key.namespace) if _selects(budget, pod)]
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected = await self._expected(budget, pods)
        except (_NoScaleError, ApiError) as error:
            if isinstance(error, ServiceUnavailableError | TimeoutError_):
                raise
            text = error.message if isinstance(error, ApiError) else str(error)
            said = f"Failed to calculate the number of expected pods: {text}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", said)
            await self._write(budget, failed(budget, text, self._clock.now()))
            return None
        found = read(budget, pods, expected, self._clock.now())
        for pod in found.late:
            said = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            self._recorder.event(pod, "Warning", "NotDeleted", said)
        await self._write(budget, found.status)
        return found.wait_s

    async def _write(self, budget: Object, status: dict[str, Any]) -> None:
        if not same_status(budget.get("status"), status):
            await self._client.update({**budget, "status": status}, "status")

    async def _expected(self, budget: Object, pods: Sequence[Object]) -> int:
        """How many Pods there should be, by those who make them where the budget needs that.

        Raises:
            _NoScaleError: a Pod's controller cannot be scaled.
            ApiError: it could not be asked.
        """
        if not counts_scales(budget):
            return len(pods)
        owners = {owner["uid"]: owner for pod in pods if (owner := controller_of(pod))}
        if any(controller_of(pod) is None for pod in pods):
            text = _UNMANAGED.format(selector=budget["spec"].get("selector"))
            self._recorder.event(budget, "Warning", "UnmanagedPods", text)
        scales: dict[str, int] = {}
        for owner in owners.values():
            uid, count = await self._scale(key_of(budget).namespace, owner)
            scales[uid] = count
        return sum(scales.values())

    async def _scale(self, namespace: str, owner: Mapping[str, Any]) -> tuple[str, int]:
        """Who makes the Pods, and how many; a ReplicaSet's Deployment is asked instead of it."""
        gvk = GroupVersionKind(*parse_api_version(owner["apiVersion"]), owner["kind"])
        key = ObjectKey(namespace, owner["name"])
        informer = self._owners.get(gvk)
        if informer is None:
            scale = await self._client.get(gvk, key.name, namespace, subresource="scale")
            return owner["uid"], scale["spec"].get("replicas", 0)
        found = informer.get(key)
        if found is None or uid_of(found) != owner["uid"]:
            raise _NoScaleError(f"found no controllers for {gvk.kind} {key}")
        above = controller_of(found)
        if gvk == REPLICA_SET and above is not None and above["kind"] == DEPLOYMENT.kind:
            return await self._scale(namespace, above)
        count = found["spec"].get("replicas")
        return owner["uid"], 1 if count is None else count

    def _on_budget(self, old: Object | None, new: Object | None) -> None:
        self._controller.queue.add(key_of(new or old or {}))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        known = [pod for pod in (old, new) if pod is not None]
        for budget in self._budgets.list(key_of(known[0]).namespace):
            if any(_selects(budget, pod) for pod in known):
                self._controller.queue.add(key_of(budget))

    def _on_owner(self, old: Object | None, new: Object | None) -> None:
        """How many Pods are wanted may have changed."""
        if old is None or new is None or old["spec"] != new["spec"]:
            for budget in self._budgets.list(key_of(new or old or {}).namespace):
                if counts_scales(budget):
                    self._controller.queue.add(key_of(budget))


def _selects(budget: Object, pod: Object) -> bool:
    return selector_from_object(budget["spec"].get("selector")).matches(labels_of(pod))


def _facts(pod: Object) -> tuple[Any, ...]:
    metadata = pod["metadata"]
    return (
        is_pod_ready(pod),
        metadata.get("deletionTimestamp"),
        metadata.get("labels"),
        metadata.get("ownerReferences"),
    )
