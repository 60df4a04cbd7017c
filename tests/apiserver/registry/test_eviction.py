"""Evictions, with and without a budget."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.registry.call import DeleteOptions
from kubraft.api.errors import InternalError, NotFoundError, TooManyRequestsError
from kubraft.api.gvk import POD, POD_DISRUPTION_BUDGET
from kubraft.api.object import Object
from tests.apiserver.harness import Bench, pod, simple

EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
READY = [{"type": "Ready", "status": "True"}]


async def running(bench: Bench, *, ready: bool = True) -> None:
    obj = pod(nodeName="n", terminationGracePeriodSeconds=0)
    obj["metadata"]["labels"] = {"app": "web"}
    made = await bench.create(obj)
    made["status"] = {"phase": "Running", "conditions": READY if ready else []}
    await bench.update(made, "status")


async def budget(
    bench: Bench, name: str = "pdb", spec: Object | None = None, **status: Any
) -> None:
    selector = {"matchLabels": {"app": "web"}}
    wanted = {"minAvailable": 1, "selector": selector, **(spec or {})}
    made = await bench.create(
        simple("PodDisruptionBudget", name, api_version="policy/v1", spec=wanted)
    )
    if status:
        made["status"] = {"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0,
                          "expectedPods": 1, "observedGeneration": 1, **status}  # fmt: skip
        await bench.update(made, "status")


async def evict(bench: Bench, **options: Any) -> None:
    call = bench.call(POD, "web", sub="eviction")
    await bench.registry.evict(call, {**EVICTION}, DeleteOptions(**options))


async def is_gone(bench: Bench) -> bool:
    try:
        await bench.get(POD, "web")
    except NotFoundError:
        return True
    return False


async def test_without_a_budget_a_pod_goes(bench: Bench) -> None:
    await running(bench)
    await evict(bench)
    assert await is_gone(bench)


async def test_a_budget_that_nobody_has_looked_at_yet_lets_nothing_go(bench: Bench) -> None:
    await running(bench)
    await budget(bench)
    with pytest.raises(TooManyRequestsError) as caught:
        await evict(bench)
    status = caught.value.to_status()
    assert status["message"] == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    assert status["details"]["retryAfterSeconds"] == 10
    (cause,) = status["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget pdb is still being processed by the server."
    assert not await is_gone(bench)


async def test_a_budget_that_is_used_up_says_what_it_needs(bench: Bench) -> None:
    await running(bench)
    await budget(bench, currentHealthy=1)
    with pytest.raises(TooManyRequestsError) as caught:
        await evict(bench)
    (cause,) = caught.value.causes
    assert cause.message == "The disruption budget pdb needs 1 healthy pods and has 1 currently"
    assert not caught.value.retry_after_s


async def test_an_allowed_disruption_is_counted(bench: Bench) -> None:
    await running(bench)
    await budget(bench, disruptionsAllowed=1, currentHealthy=2)
    await evict(bench, dry_run=True)
    assert not await is_gone(bench)
    await evict(bench)
    assert await is_gone(bench)
    status = (await bench.get(POD_DISRUPTION_BUDGET, "pdb"))["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["web"]
    assert status["conditions"][0]["reason"] == "InsufficientPods"


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        pytest.param({}, {"currentHealthy": 2}, id="enough others are healthy"),
        pytest.param(
            {"unhealthyPodEvictionPolicy": "AlwaysAllow"},
            {"currentHealthy": 0},
            id="the budget says so",
        ),
    ],
)
async def test_a_pod_that_is_not_ready_goes_uncounted(
    bench: Bench, spec: Object, status: Object
) -> None:
    await running(bench, ready=False)
    await budget(bench, spec=spec, **status)
    await evict(bench)
    assert await is_gone(bench)
    assert (await bench.get(POD_DISRUPTION_BUDGET, "pdb"))["status"]["disruptionsAllowed"] == 0


async def test_a_pending_pod_needs_no_budget(bench: Bench) -> None:
    made = pod()
    made["metadata"]["labels"] = {"app": "web"}
    await bench.create(made)
    await budget(bench)
    await evict(bench)
    assert await is_gone(bench)


async def test_two_budgets_are_one_too_many(bench: Bench) -> None:
    await running(bench)
    await budget(bench, "a")
    await budget(bench, "b")
    with pytest.raises(InternalError, match="more than one PodDisruptionBudget"):
        await evict(bench)
