"""Pods, Services, LimitRanges and ResourceQuotas that are refused."""

from __future__ import annotations

import pytest

from kubraft.api.errors import InvalidError
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from tests.apiserver.harness import Bench, pod, service, simple
from tests.apiserver.registry.refusals import refusals


async def _refusal(bench: Bench, obj: Object) -> str:
    with pytest.raises(InvalidError) as caught:
        await bench.create(obj)
    return caught.value.message.partition(" is invalid: ")[2]


@pytest.mark.parametrize(("_kind", "change", "message"), refusals("pods.txt"))
async def test_a_pod_that_breaks_a_rule_is_refused_in_upstreams_words(
    bench: Bench, _kind: str, change: Object, message: str
) -> None:
    assert await _refusal(bench, merge_patch(pod(), change)) == message


@pytest.mark.parametrize(("_kind", "change", "message"), refusals("services.txt"))
async def test_a_service_that_breaks_a_rule_is_refused_in_upstreams_words(
    bench: Bench, _kind: str, change: Object, message: str
) -> None:
    assert await _refusal(bench, merge_patch(service(), change)) == message


@pytest.mark.parametrize(("kind", "change", "message"), refusals("amounts.txt"))
async def test_amounts_that_contradict_each_other_are_refused_in_upstreams_words(
    bench: Bench, kind: str, change: Object, message: str
) -> None:
    assert await _refusal(bench, merge_patch(simple(kind, spec={}), change)) == message


async def test_a_service_loses_what_only_its_former_type_had(bench: Bench) -> None:
    made = await bench.create(service(type="LoadBalancer", loadBalancerClass="acme.io/x"))
    assert made["spec"]["externalTrafficPolicy"] == "Cluster"
    made["spec"]["type"] = "ClusterIP"
    made = await bench.update(made)
    of_balancers = {"externalTrafficPolicy", "loadBalancerClass", "allocateLoadBalancerNodePorts"}
    assert not of_balancers & made["spec"].keys()
