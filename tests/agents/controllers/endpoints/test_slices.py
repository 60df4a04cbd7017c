"""Slices hold what is wanted, each endpoint once, however they were before and late the cache."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.action import Create, Delete, Update
from agents.controllers.endpoints.slice_controller import EndpointSliceController
from agents.controllers.endpoints.slices import ENDPOINTS_MAX, Wanted, plan
from kubraft.api.errors import ApiError
from kubraft.api.gvk import ENDPOINT_SLICE, POD
from kubraft.api.object import Object, key_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import pod, service

HTTP = [{"name": "http", "port": 80, "protocol": "TCP"}]
LABELS = {"kubernetes.io/service-name": "web"}


def _wanted(numbers: frozenset[int], *, ready: bool = True) -> Wanted:
    wanted = Wanted(service(), LABELS, ["IPv4"])
    for number in sorted(numbers):
        uid = {"kind": "Pod", "uid": f"uid-{number}"}
        address = f"10.1.{number // 250}.{number % 250}"
        conditions = {"ready": ready}
        endpoint = {"addresses": [address], "conditions": conditions, "targetRef": uid}
        wanted.add("IPv4", HTTP, endpoint)
    return wanted


def _applied(slices: dict[str, Object], wanted: Wanted) -> dict[str, Object]:
    after = dict(slices)
    for action in plan(wanted, list(slices.values())):
        match action:
            case Create(obj):
                assert key_of(obj).name not in after
                after[key_of(obj).name] = obj
            case Update(obj):
                after[key_of(obj).name] = obj
            case Delete(_, key):
                del after[key.name]
    return after


def _held(slices: dict[str, Object]) -> list[str]:
    return sorted(e["targetRef"]["uid"] for s in slices.values() for e in s["endpoints"])


@given(st.lists(st.frozensets(st.integers(0, 260), max_size=260), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_each_endpoint_is_in_one_slice(steps: list[frozenset[int]]) -> None:
    slices: dict[str, Object] = {}
    for numbers in steps:
        slices = _applied(slices, _wanted(numbers))
        assert _held(slices) == sorted(f"uid-{number}" for number in numbers)
        assert all(len(s["endpoints"]) <= ENDPOINTS_MAX for s in slices.values())
        assert slices, "an empty Service has an empty slice"
        assert plan(_wanted(numbers), list(slices.values())) == []


def test_one_change_writes_one_slice() -> None:
    slices = _applied({}, _wanted(frozenset(range(250))))
    assert sorted(len(s["endpoints"]) for s in slices.values()) == [50, 100, 100]
    (write,) = plan(_wanted(frozenset(range(251))), list(slices.values()))
    assert isinstance(write, Update)
    (write,) = plan(_wanted(frozenset(range(1, 250))), list(slices.values()))
    assert isinstance(write, Update)


def test_new_conditions_are_written_where_the_endpoint_is() -> None:
    slices = _applied({}, _wanted(frozenset({1})))
    ((name, before),) = slices.items()
    after = _applied(slices, _wanted(frozenset({1}), ready=False))
    assert list(after) == [name]
    assert after[name]["endpoints"] != before["endpoints"]


moves = st.lists(
    st.tuples(st.sampled_from(["reconcile", "deliver", "add", "remove"]), st.integers(0, 4)),
    max_size=25,
)
outcomes = st.lists(st.sampled_from(["ok", "refused", "lost", "unheard"]), max_size=4)


@given(answers=outcomes, script=moves)
@settings(max_examples=80, deadline=None)
def test_slices_follow_the_pods(answers: list[str], script: list[tuple[str, int]]) -> None:
    asyncio.run(_play(answers, script))


async def _play(answers: list[str], script: list[tuple[str, int]]) -> None:
    api = LaggingApi()
    controller = EndpointSliceController(api.context())
    owner = api.put(service())
    api.deliver_all()
    api.outcomes.extend(answers)
    count = 0
    for move, number in script:
        pods = api.of_kind(POD)
        match move:
            case "reconcile":
                with suppress(ApiError):
                    await controller.reconcile(key_of(owner))
            case "deliver":
                api.deliver(number)
            case "add":
                count += 1
                api.put(pod(f"p{count}", ip=f"10.1.0.{count}"))
            case "remove" if pods:
                api.remove((POD, key_of(pods[number % len(pods)])))
        ports = [str(s["ports"]) for s in api.of_kind(ENDPOINT_SLICE)]
        assert len(ports) == len(set(ports)), "a second slice for what one holds"
    api.outcomes.clear()
    for _ in range(4):
        api.deliver_all()
        with suppress(ApiError):
            await controller.reconcile(key_of(owner))
    (stored,) = api.of_kind(ENDPOINT_SLICE)
    held = sorted(endpoint["targetRef"]["name"] for endpoint in stored["endpoints"])
    assert held == sorted(p["metadata"]["name"] for p in api.of_kind(POD))
