from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.stateful_set.identity import claims_of, retained, stateful_pod
from agents.controllers.stateful_set.plan import EndPod, MakePod, Revisions, plan, status
from kubraft.api.object import Object
from tests.agents.controllers.objects import NOW, pod, stateful_set

OLD, NEW = "db-old", "db-new"
ROLLING = Revisions(OLD, NEW)
SETTLED = Revisions(NEW, NEW)
PARALLEL = {"podManagementPolicy": "Parallel"}


def _pod(ordinal: int, state: str = "ready", revision: str = NEW) -> Object:
    labels = {"app": "web", "controller-revision-hash": revision}
    parts: dict[str, Any] = {"labels": labels}
    match state:
        case "unready":
            parts["ready"] = None
        case "leaving":
            parts["terminating"] = True
        case "Failed" | "Succeeded":
            parts["phase"] = state
    return pod(f"db-{ordinal}", **parts)


def _steps(owner: Object, pods: list[Object], revisions: Revisions = SETTLED) -> list[str]:
    steps = plan(owner, pods, revisions, NOW)
    return [
        f"make {step.ordinal} {step.revision}"
        if isinstance(step, MakePod)
        else f"end {step.pod['metadata']['name']}"
        for step in steps
    ]


@pytest.mark.parametrize(
    ("spec", "states", "steps"),
    [
        pytest.param({}, [], ["make 0 db-new"], id="the first alone"),
        pytest.param({}, ["unready"], [], id="the next waits for the one before"),
        pytest.param({}, ["ready"], ["make 1 db-new"], id="the next"),
        pytest.param({}, ["leaving", "ready", "ready"], [], id="a name is free only when it is"),
        pytest.param({}, ["ready", "Failed", "ready"], ["end db-1"], id="what failed is made anew"),
        pytest.param({}, ["ready"] * 3, [], id="done"),
        pytest.param({}, ["ready"] * 5, ["end db-4"], id="from the last, one at a time"),
        pytest.param({}, ["ready"] * 4 + ["leaving"], [], id="the next when it is gone"),
        pytest.param({}, ["unready"] + ["ready"] * 4, [], id="not while one is not ready"),
        pytest.param(PARALLEL, [], [f"make {n} db-new" for n in range(3)], id="all at once"),
        pytest.param(PARALLEL, ["ready"] * 5, ["end db-4", "end db-3"], id="all at once down"),
    ],
)
def test_pods_come_and_go_in_order(
    spec: dict[str, Any], states: list[str], steps: list[str]
) -> None:
    pods = [_pod(ordinal, state) for ordinal, state in enumerate(states)]
    assert _steps(stateful_set(**spec), pods) == steps


def test_the_first_ordinal() -> None:
    owner = stateful_set(replicas=2, ordinals={"start": 5})
    assert _steps(owner, []) == ["make 5 db-new"]
    assert _steps(owner, [_pod(5)]) == ["make 6 db-new"]
    assert _steps(owner, [_pod(0), _pod(5), _pod(6)]) == ["end db-0"]


@pytest.mark.parametrize(
    ("strategy", "revisions", "steps"),
    [
        pytest.param({}, [OLD] * 3, ["end db-2"], id="from the last"),
        pytest.param({}, [OLD, OLD, NEW], ["end db-1"], id="then the one before"),
        pytest.param({"rollingUpdate": {"partition": 2}}, [OLD] * 3, ["end db-2"], id="partition"),
        pytest.param({"rollingUpdate": {"partition": 2}}, [OLD, OLD, NEW], [], id="held there"),
        pytest.param({"type": "OnDelete"}, [OLD] * 3, [], id="on deletion only"),
    ],
)
def test_steps_of_an_update(
    strategy: dict[str, Any], revisions: list[str], steps: list[str]
) -> None:
    owner = stateful_set(updateStrategy=strategy)
    pods = [_pod(ordinal, revision=revision) for ordinal, revision in enumerate(revisions)]
    assert _steps(owner, pods, ROLLING) == steps


def test_an_update_waits_for_what_it_changed() -> None:
    pods = [_pod(0, revision=OLD), _pod(1, revision=OLD), _pod(2, "unready")]
    assert _steps(stateful_set(**PARALLEL), pods, ROLLING) == []


@pytest.mark.parametrize(
    ("most", "pods", "steps"),
    [
        pytest.param(2, ["old"] * 4, ["end db-3", "end db-2"], id="two at once"),
        pytest.param("50%", ["old"] * 4, ["end db-3", "end db-2"], id="a share"),
        pytest.param("10%", ["old"] * 4, ["end db-3"], id="a share is rounded up"),
        pytest.param(2, ["old", "old", "old", "unready"], ["end db-2"], id="one is on its way"),
        pytest.param(2, ["old", "old", "unready", "unready"], [], id="two are"),
        pytest.param(2, ["down", "old", "old", "old"], ["end db-3"], id="one is down before them"),
        pytest.param(
            2, ["down", "down", "old", "old"], ["end db-3"], id="the last one all the same"
        ),
        pytest.param(2, ["old", "down", "down", "ready"], ["end db-2", "end db-1"], id="for good"),
        pytest.param(
            5, ["old", "ready", "old", "old"], ["end db-3", "end db-2", "end db-0"], id="5"
        ),
    ],
)
def test_so_many_pods_of_an_update_may_be_unavailable(
    most: int | str, pods: list[str], steps: list[str]
) -> None:
    strategy = {"rollingUpdate": {"maxUnavailable": most}}
    owner = stateful_set(replicas=4, updateStrategy=strategy, **PARALLEL)
    kinds = {"old": ("ready", OLD), "down": ("unready", OLD)}
    made = [_pod(n, *kinds.get(each, (each, NEW))) for n, each in enumerate(pods)]
    assert _steps(owner, made, ROLLING) == steps


@pytest.mark.parametrize(("partition", "revision"), [(0, NEW), (1, NEW), (3, OLD)])
def test_below_the_partition_pods_stay_what_they_were(partition: int, revision: str) -> None:
    owner = stateful_set(updateStrategy={"rollingUpdate": {"partition": partition}})
    pods = [_pod(0, revision=OLD)]
    assert _steps(owner, pods, ROLLING) == [f"make 1 {revision}"]


def test_the_current_revision_follows_when_all_are_updated() -> None:
    owner = stateful_set()
    part = [_pod(0, revision=OLD), _pod(1), _pod(2)]
    found = status(owner, part, ROLLING, None, NOW)
    assert (found["currentRevision"], found["updatedReplicas"], found["currentReplicas"]) == (
        OLD, 2, 1,
    )  # fmt: skip
    found = status(owner, [_pod(n) for n in range(3)], ROLLING, None, NOW)
    assert (found["currentRevision"], found["currentReplicas"]) == (NEW, 3)


def test_what_a_pod_keeps() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    owner = stateful_set(volumeClaimTemplates=[claim])
    made = stateful_pod(owner, owner["spec"]["template"], 1, NEW)
    assert made["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert made["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-1", "db")
    assert made["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}
    ]
    assert [c["metadata"]["name"] for c in claims_of(owner, 1)] == ["data-db-1"]


@pytest.mark.parametrize(
    ("policy", "condemned", "owners"),
    [
        ({}, True, None),
        ({"whenDeleted": "Delete"}, False, ["StatefulSet"]),
        ({"whenScaled": "Delete"}, False, None),
        ({"whenScaled": "Delete"}, True, ["Pod"]),
        ({"whenDeleted": "Delete", "whenScaled": "Delete"}, True, ["Pod"]),
    ],
)
def test_with_whom_a_claim_goes(
    policy: dict[str, str], condemned: bool, owners: list[str] | None
) -> None:
    template = {"metadata": {"name": "data"}, "spec": {}}
    owner = stateful_set(
        volumeClaimTemplates=[template], persistentVolumeClaimRetentionPolicy=policy
    )
    (claim,) = claims_of(owner, 0)
    fresh = retained(owner, claim, _pod(0), condemned=condemned)
    found = [r["kind"] for r in fresh["metadata"]["ownerReferences"]] if fresh else None
    assert found == owners
    if fresh:
        assert retained(owner, fresh, _pod(0), condemned=condemned) is None


def test_a_step_that_ends_a_pod_names_it() -> None:
    (step,) = plan(stateful_set(), [_pod(0, "Succeeded")], SETTLED, NOW)
    assert isinstance(step, EndPod)
    assert step.replaced
