"""A seed says what users declare and which faults come, whatever the machine does."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.chaos.churn import APPLICATION, OBJECTS_MAX, Step, Wanted, churn, declared
from scripts.chaos.faults import Fault, Kind, Targets, draw
from scripts.chaos.manifests import KINDS, changes, manifest

NAMES = (
    *(f"store-{index}" for index in range(3)),
    *("node-0", "node-1", "runtime-0", "runtime-1"),
    *("apiserver-0", "scheduler-0", "controller-manager-0", "proxy-0", "dns-0"),
)
TARGETS = Targets.of(NAMES, ["node-0", "node-1"], ["runtime-0", "runtime-1"])


def steps(seed: int, seconds: float = 600.0) -> list[Step]:
    return list(churn(random.Random(seed), seconds))


def test_every_process_is_something() -> None:
    assert TARGETS.members == ("store-0", "store-1", "store-2")
    assert TARGETS.others == (
        *("apiserver-0", "controller-manager-0", "dns-0", "proxy-0", "scheduler-0"),
    )


def test_the_same_seed_draws_the_same() -> None:
    assert steps(7) == steps(7) != steps(8)
    one, other = random.Random(7), random.Random(7)
    assert [draw(one, TARGETS) for _ in range(50)] == [draw(other, TARGETS) for _ in range(50)]


def test_in_a_run_every_process_is_hurt_in_every_way_it_may_be() -> None:
    rng = random.Random(1)
    drawn = [draw(rng, TARGETS) for _ in range(600)]
    hurt = {target for fault in drawn for target in fault.targets}
    assert hurt == {*NAMES, "leader"}
    assert {fault.kind for fault in drawn} == set(Kind)
    paused = {name for fault in drawn if fault.kind is Kind.PAUSE for name in fault.targets}
    assert {"scheduler-0", "controller-manager-0", "node-0", "runtime-1"} <= paused
    assert max(fault.seconds for fault in drawn) < 15


def test_a_fault_says_what_it_does() -> None:
    assert str(Fault(Kind.PAUSE, ("store-0", "node-1"), 2.25)) == "pause store-0, node-1 for 2.2 s"
    assert str(Fault(Kind.CRASH, ("proxy-0",), 0)) == "crash proxy-0"


@given(st.integers(0, 10_000))
def test_steps_make_sense_one_after_another(seed: int) -> None:
    live: dict[tuple[str, str], Wanted] = {}
    last_s = 0.0
    for step in steps(seed, 200.0):
        key = (step.wanted.kind, step.wanted.name)
        assert step.at_s >= last_s
        last_s = step.at_s
        if step.delete:
            assert step.wanted.name != APPLICATION
            del live[key]
            continue
        known = live.get(key)
        if known is not None:
            assert step.wanted.kind != "Job"
            assert step.wanted.version - known.version in {0, 1}
        live[key] = step.wanted
        counts = Counter(kind for kind, name in live if name != APPLICATION)
        assert all(counts[kind] <= OBJECTS_MAX[kind] for kind in counts)
    assert declared(steps(seed, 200.0)) == list(live.values())


def test_ten_minutes_have_all_that_users_do() -> None:
    seen = {(step.wanted.kind, "delete" if step.delete else "apply") for step in steps(1)}
    assert seen == {(kind, verb) for kind in KINDS for verb in ("apply", "delete")}
    rolled = [step for step in steps(1) if step.wanted.version > 2]
    assert {step.wanted.kind for step in rolled} >= {"Deployment", "StatefulSet", "DaemonSet"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_manifest_asks_for_what_is_wanted(kind: str) -> None:
    made = manifest(Wanted(kind, "a", 4, version=3))
    assert made["kind"] == kind
    (container,) = made["spec"]["template"]["spec"]["containers"]
    if kind == "Job":
        assert made["spec"]["completions"] == 4
        return
    assert container["image"] == "kubraft/web:v3"
    assert made["spec"].get("replicas") == (None if kind == "DaemonSet" else 4)
    patch = changes(Wanted(kind, "a", 4, version=3))
    assert {**patch["spec"], "selector": made["spec"]["selector"]} == made["spec"]
