"""What an autoscaler does and says, round by round."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agents.controllers.horizontal_pod_autoscaler.controller import (
    PERIOD_S,
    HorizontalPodAutoscalerController,
)
from kubraft.api.errors import ApiError, ForbiddenError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.api.time import ManualClock
from tests.agents.controllers.horizontal_pod_autoscaler.test_replicas import percent, pod, used
from tests.agents.controllers.objects import NOW

KEY = ObjectKey("default", "web")
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


class Held:
    """Objects as an informer holds them."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Object] = {}

    def get(self, key: ObjectKey) -> Object | None:
        return self.objects.get(key)

    def list(self, namespace: str = "") -> list[Object]:
        return [o for k, o in self.objects.items() if namespace in ("", k.namespace)]

    def add_handler(self, handler: Any) -> None:
        """Tests reconcile by hand."""


class World:
    """Stands in for client, informers and recorder: one Deployment `web`, and what uses what."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.autoscalers, self.pods = Held(), Held()
        self.replicas = 2
        self.selector = "app=web"
        self.usage: list[Object] = []
        self.failure: ApiError | None = None
        self.refusal: ApiError | None = None
        self.events: list[tuple[str, str]] = []
        context: Any = SimpleNamespace(
            client=self, informers=self, clock=self.clock, recorder=lambda _component: self
        )
        self.controller = HorizontalPodAutoscalerController(context)

    def of(self, gvk: GroupVersionKind) -> Held:
        return self.pods if gvk.kind == "Pod" else self.autoscalers

    def event(self, obj: Object, type_: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    async def get(self, gvk: GroupVersionKind, name: str, *_: Any, subresource: str) -> Object:
        if self.failure is not None:
            raise self.failure
        assert (gvk.kind, name, subresource) == ("Deployment", "web", "scale")
        status = {"replicas": self.replicas, "selector": self.selector}
        return {"spec": {"replicas": self.replicas}, "status": status}

    async def list(self, gvk: GroupVersionKind, namespace: str, *, label_selector: str) -> Any:
        assert (gvk.kind, namespace, label_selector) == ("PodMetrics", "default", self.selector)
        if not self.usage:
            raise ServiceUnavailableError("nobody there")
        return type("Listed", (), {"items": self.usage})

    async def patch(self, gvk: GroupVersionKind, name: str, change: Any, *_: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.replicas = change["spec"]["replicas"]

    async def update(self, obj: Object, subresource: str) -> None:
        assert subresource == "status"
        self.autoscalers.objects[key_of(obj)] = obj

    def autoscale(self, name: str = "web", **spec: Any) -> None:
        metadata = {"name": name, "namespace": "default", "generation": 1}
        spec = {"scaleTargetRef": REFERENCE, "maxReplicas": 5, "metrics": [percent(50)], **spec}
        self.autoscalers.objects[ObjectKey("default", name)] = {"metadata": metadata, "spec": spec}

    def use(self, *cpu: str) -> None:
        self.pods.objects, self.usage = {}, []
        for index, amount in enumerate(cpu):
            made = pod(f"p{index}")
            made["metadata"]["labels"] = {"app": "web"}
            self.pods.objects[key_of(made)] = made
            self.usage.append(used(f"p{index}", amount))

    async def look(self, key: ObjectKey = KEY) -> Object:
        """One round; the status that it leaves."""
        self.events.clear()
        assert await self.controller.reconcile(key) == PERIOD_S
        status: Object = self.autoscalers.objects[key].get("status") or {}
        return status

    def said(self) -> dict[str, tuple[str, str]]:
        conditions = self.autoscalers.objects[KEY]["status"]["conditions"]
        return {c["type"]: (c["status"], c["reason"]) for c in conditions}


@pytest.fixture
def world() -> World:
    made = World()
    made.autoscale()
    return made


async def test_it_scales_up_and_comes_to_rest(world: World) -> None:
    world.use("1", "1")
    status = await world.look()
    assert world.replicas == 4
    assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 4)
    assert status["observedGeneration"] == 1
    assert status["lastScaleTime"]
    assert world.said() == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    text = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert world.events == [("SuccessfulRescale", text)]
    world.use("500m", "500m", "500m", "500m")
    status = await world.look()
    assert (world.replicas, status["currentReplicas"]) == (4, 4)
    assert world.said()["AbleToScale"] == ("True", "ReadyForNewScale")
    assert world.events == []


async def test_it_goes_down_once_five_minutes_agree(world: World) -> None:
    world.replicas = 4
    world.use("100m", "100m", "100m", "100m")
    await world.look()
    assert world.replicas == 4
    assert world.said()["AbleToScale"] == ("True", "ScaleDownStabilized")
    await world.clock.advance(301)
    world.use("100m", "100m", "100m", "100m")
    await world.look()
    assert world.replicas == 1
    assert world.events == [("SuccessfulRescale", "New size: 1; reason: All metrics below target")]


@pytest.mark.parametrize(
    ("replicas", "spec", "wanted", "why"),
    [
        pytest.param(9, {}, 5, "Current number of replicas above Spec.MaxReplicas", id="above"),
        pytest.param(
            1,
            {"minReplicas": 3},
            3,
            "Current number of replicas below Spec.MinReplicas",
            id="below",
        ),
    ],
)
async def test_bounds_need_no_metrics(
    world: World, replicas: int, spec: Any, wanted: int, why: str
) -> None:
    world.autoscale(**spec)
    world.replicas = replicas
    await world.look()
    assert world.replicas == wanted
    text = f"New size: {wanted}; reason: {why}"
    assert world.events == [("SuccessfulRescale", text)]


async def test_none_is_left_alone(world: World) -> None:
    world.replicas = 0
    await world.look()
    assert world.replicas == 0
    assert world.said()["ScalingActive"] == ("False", "ScalingDisabled")


async def test_what_fails_is_said(world: World) -> None:
    world.failure = NotFoundError('deployments.apps "web" not found')
    await world.look()
    assert world.said() == {"AbleToScale": ("False", "FailedGetScale")}
    assert world.events == [("FailedGetScale", 'deployments.apps "web" not found')]
    world.failure = None
    await world.look()
    assert world.said()["ScalingActive"] == ("False", "FailedGetResourceMetric")
    assert [reason for reason, _ in world.events] == [
        "FailedGetResourceMetric",
        "FailedComputeMetricsReplicas",
    ]
    world.use("1", "1")
    world.refusal = ForbiddenError("no")
    await world.look()
    assert world.said()["AbleToScale"] == ("False", "FailedUpdateScale")
    assert world.events[0][0] == "FailedRescale"
    world.refusal, world.selector = None, ""
    await world.look()
    assert world.said()["ScalingActive"] == ("False", "InvalidSelector")
    assert world.replicas == 2


async def test_two_that_count_the_same_pods_do_nothing(world: World) -> None:
    world.autoscale("other")
    world.use("500m", "500m")
    await world.look()
    world.use("1", "1")
    await world.look(ObjectKey("default", "other"))
    assert world.replicas == 2
    await world.look()
    assert world.replicas == 2
    assert world.said()["ScalingActive"] == ("False", "AmbiguousSelector")
    text = (
        "pods by selector app=web are controlled by multiple HPAs: [{other default} {web default}]"
    )
    assert world.events[0] == ("AmbiguousSelector", text)
    del world.autoscalers.objects[ObjectKey("default", "other")]
    assert await world.controller.reconcile(ObjectKey("default", "other")) is None
    await asyncio.sleep(0)
    await world.look()
    assert world.replicas == 4
