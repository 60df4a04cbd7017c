"""Looks at each autoscaler four times a minute, and scales what it is about.

Source: upstream's HorizontalController (order, conditions, events).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agents.controllers.context import Context
from agents.controllers.horizontal_pod_autoscaler.behavior import (
    Bounds,
    History,
    Moment,
    Said,
    normalize,
    note,
)
from agents.controllers.horizontal_pod_autoscaler.metrics import (
    Workload,
    invalid,
    outcome,
    tolerance_of,
)
from agents.controllers.horizontal_pod_autoscaler.replicas import TOLERANCE
from agents.controllers.status import same_status
from kubraft.api.conditions import Condition, conditions_of, with_condition
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import POD, GroupVersionKind, parse_api_version
from kubraft.api.labels import LabelSelector, parse_selector
from kubraft.api.object import Object, ObjectKey, key_of, labels_of
from kubraft.api.time import format_time
from kubraft.client.controller import Controller

AUTOSCALER: Final = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")
POD_METRICS: Final = GroupVersionKind("metrics.k8s.io", "v1beta1", "PodMetrics")
PERIOD_S: Final = 15.0
WORKERS: Final = 5


class _Round:
    """One look at one autoscaler: the conditions and numbers that its status gets."""

    def __init__(self, autoscaler: Object, now: Any) -> None:
        self.autoscaler = autoscaler
        self.spec: Object = autoscaler["spec"]
        self.status: Object = dict(autoscaler.get("status") or {})
        self._conditions: list[Condition] = conditions_of(autoscaler)
        self._now = now

    def say(self, kind: str, said: Said) -> None:
        """Set a condition."""
        status = "True" if said.holds else "False"
        fresh = {
            "type": kind,
            "status": status,
            "reason": said.reason,
            "message": said.message,
        }
        self._conditions = with_condition(self._conditions, fresh, self._now)

    def done(self, current: int, desired: int, metrics: list[Object] | None = None) -> Object:
        """The autoscaler with its new status."""
        generation = self.autoscaler["metadata"].get("generation")
        self.status |= {"currentReplicas": current, "desiredReplicas": desired}
        if metrics is not None:
            self.status["currentMetrics"] = metrics
        if generation is not None:
            self.status["observedGeneration"] = generation
        return self.written()

    def written(self) -> Object:
        """The autoscaler with what has been said so far."""
        self.status["conditions"] = self._conditions
        self.status.setdefault("desiredReplicas", 0)
        return {**self.autoscaler, "status": self.status}


class HorizontalPodAutoscalerController:
    """Reconciles one autoscaler at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("horizontal-pod-autoscaler")
        self._autoscalers = context.informers.of(AUTOSCALER)
        self._pods = context.informers.of(POD)
        self._histories: dict[ObjectKey, History] = {}
        # Of the Pods that each autoscaler counts.
        self._selectors: dict[ObjectKey, LabelSelector] = {}
        self._controller = Controller(
            "horizontal-pod-autoscaler-controller",
            self.reconcile,
            workers=WORKERS,
            clock=context.clock,
        )
        self._autoscalers.add_handler(self._on_change)

    async def run(self) -> None:
        await self._controller.run()

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        changed = new or old
        assert changed is not None
        if old is None or new is None or old["spec"] != new["spec"]:
            self._controller.queue.add(key_of(changed))

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one look; comes back after the period for as long as there is the autoscaler."""
        autoscaler = self._autoscalers.get(key)
        if autoscaler is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return None
        round_ = _Round(autoscaler, self._clock.now())
        try:
            await self._write(autoscaler, await self._look(key, round_))
        except (NotFoundError, ConflictError):
            return 1.0  # changed meanwhile
        return PERIOD_S

    async def _write(self, before: Object, after: Object) -> None:
        if not same_status(before.get("status"), after["status"]):
            await self._client.update(after, "status")

    async def _look(self, key: ObjectKey, round_: _Round) -> Object:
        """One look; the autoscaler with its new status."""
        spec, autoscaler = round_.spec, round_.autoscaler
        reference = spec["scaleTargetRef"]
        try:
            kind = _kind_of(reference)
            scale = await self._client.get(
                kind, reference["name"], key.namespace, subresource="scale"
            )
        except (ApiError, ValueError) as error:
            why = error.message if isinstance(error, ApiError) else str(error)
            self._recorder.event(autoscaler, "Warning", "FailedGetScale", why)
            text = f"the HPA controller was unable to get the target's current scale: {why}"
            round_.say("AbleToScale", Said(False, "FailedGetScale", text))
            return round_.written()
        text = "the HPA controller was able to get the target's current scale"
        round_.say("AbleToScale", Said(True, "SucceededGetScale", text))
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        history = self._histories.setdefault(key, History())
        if not history.recommendations:
            history.recommendations.append(Moment(self._clock.monotonic_s(), current))
        least = spec.get("minReplicas")
        bounds = Bounds(1 if least is None else int(least), int(spec["maxReplicas"]))
        desired, reason, metrics = current, "", None
        if current == 0 and bounds.least != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            round_.say("ScalingActive", Said(False, "ScalingDisabled", text))
            desired = 0
        elif current > bounds.most:
            desired, reason = bounds.most, "Current number of replicas above Spec.MaxReplicas"
        elif current < bounds.least:
            desired, reason = bounds.least, "Current number of replicas below Spec.MinReplicas"
        else:
            found = await self._measured(key, round_, scale, bounds)
            if found is None:
                return round_.done(current, int(round_.status.get("desiredReplicas") or 0))
            desired, reason, metrics = found
        if desired != current and not await self._scale(key, round_, kind, desired, reason):
            return round_.done(current, int(round_.status.get("desiredReplicas") or 0), metrics)
        note(history, spec.get("behavior"), current, desired, self._clock.monotonic_s())
        return round_.done(current, desired, metrics)

    async def _measured(
        self, key: ObjectKey, round_: _Round, scale: Object, bounds: Bounds
    ) -> tuple[int, str, list[Object]] | None:
        """How many replicas the metrics ask for, why, and what they are; None where that fails."""
        spec, autoscaler = round_.spec, round_.autoscaler
        behavior: Mapping[str, Any] | None = spec.get("behavior")
        text = (scale.get("status") or {}).get("selector") or ""
        if not text:
            self._recorder.event(autoscaler, "Warning", "SelectorRequired", "selector is required")
            missing = "the HPA target's scale is missing a selector"
            round_.say("ScalingActive", Said(False, "InvalidSelector", missing))
            return None
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        self._selectors[key] = parse_selector(text)
        if rivals := self._rivals(key):
            shown = " ".join(f"{{{each.name} {each.namespace}}}" for each in rivals)
            why = f"pods by selector {text} are controlled by multiple HPAs: [{shown}]"
            self._recorder.event(autoscaler, "Warning", "AmbiguousSelector", why)
            round_.say("ScalingActive", Said(False, "AmbiguousSelector", why))
            self._recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", why)
            return None
        workload = await self._workload(key.namespace, text, scale, behavior)
        metrics = spec.get("metrics") or []
        found = outcome(metrics, workload, current)
        for reason, failure in found.failures:
            self._recorder.event(autoscaler, "Warning", reason, failure)
        round_.say("ScalingActive", Said(found.replicas is not None, found.reason, found.message))
        if found.replicas is None:
            why = invalid(found.failures, len(metrics))
            self._recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", why)
            round_.status["currentMetrics"] = found.statuses
            return None
        wanted = normalize(
            behavior,
            self._histories[key],
            current=current,
            desired=found.replicas,
            bounds=bounds,
            now_s=self._clock.monotonic_s(),
        )
        round_.say("AbleToScale", wanted.able)
        round_.say("ScalingLimited", wanted.limited)
        up = f"{found.name} above target"
        reason = up if found.replicas > current else "All metrics below target"
        return wanted.replicas, reason, found.statuses

    def _selected(self, namespace: str, selector: LabelSelector) -> list[Object]:
        return [pod for pod in self._pods.list(namespace) if selector.matches(labels_of(pod))]

    def _rivals(self, key: ObjectKey) -> list[ObjectKey]:
        """All autoscalers that count the same Pods, if there are several."""
        pods = self._selected(key.namespace, self._selectors[key])
        found = [
            other
            for other, selector in self._selectors.items()
            if other.namespace == key.namespace
            and any(selector.matches(labels_of(pod)) for pod in pods)
        ]
        return sorted(found) if len(found) > 1 else []

    async def _workload(
        self, namespace: str, text: str, scale: Object, behavior: Mapping[str, Any] | None
    ) -> Workload:
        pods = self._selected(namespace, parse_selector(text))
        usage, failure = [], ""
        try:
            usage = (await self._client.list(POD_METRICS, namespace, label_selector=text)).items
        except ApiError as error:
            failure = error.message
        return Workload(
            pods=pods,
            usage=usage,
            failure=failure,
            current=int((scale.get("spec") or {}).get("replicas") or 0),
            tolerance=tolerance_of(behavior, TOLERANCE),
            now=self._clock.now(),
        )

    async def _scale(
        self, key: ObjectKey, round_: _Round, kind: GroupVersionKind, desired: int, reason: str
    ) -> bool:
        """Write the number; whether that was done."""
        name = round_.spec["scaleTargetRef"]["name"]
        change = {"spec": {"replicas": desired}}
        try:
            await self._client.patch(kind, name, change, key.namespace, "scale")
        except ApiError as error:
            told = f"New size: {desired}; reason: {reason}; error: {error.message}"
            self._recorder.event(round_.autoscaler, "Warning", "FailedRescale", told)
            text = f"the HPA controller was unable to update the target scale: {error.message}"
            round_.say("AbleToScale", Said(False, "FailedUpdateScale", text))
            return False
        text = f"the HPA controller was able to update the target scale to {desired}"
        round_.say("AbleToScale", Said(True, "SucceededRescale", text))
        told = f"New size: {desired}; reason: {reason}"
        self._recorder.event(round_.autoscaler, "Normal", "SuccessfulRescale", told)
        round_.status["lastScaleTime"] = format_time(self._clock.now())
        return True


def _kind_of(reference: Object) -> GroupVersionKind:
    """Raises ValueError: its apiVersion is malformed."""
    group, version = parse_api_version(reference.get("apiVersion") or "v1")
    return GroupVersionKind(group, version, reference["kind"])
