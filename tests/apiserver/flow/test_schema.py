"""Which flow a request belongs to."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.flow.control import FlowControl
from apiserver.flow.defaults import default_levels, default_schemas
from apiserver.flow.objects import ensure_flow_objects, follow, holds
from apiserver.flow.schema import Request
from tests.apiserver.memory import MemoryCluster, MemoryWriter

ALL = "system:authenticated"
ACCOUNT = "system:serviceaccount:"
LEASES = ("coordination.k8s.io", "leases")


@pytest.mark.parametrize(
    ("request_", "schema", "level", "flow"),
    [
        (Request("root", ("system:masters", ALL), "delete", "", "pods"), "exempt", "exempt", ""),
        (Request("ann", (ALL,), "get", path="/healthz"), "probes", "exempt", ""),
        (
            Request("system:kube-scheduler", (ALL,), "update", *LEASES, "kube-system"),
            "system-leader-election",
            "leader-election",
            "system:kube-scheduler",
        ),
        (
            Request(f"{ACCOUNT}kube-system:x", (ALL,), "create", *LEASES, "a"),
            "system-leader-election",
            "leader-election",
            f"{ACCOUNT}kube-system:x",
        ),
        (
            Request(f"{ACCOUNT}shop:x", ("system:serviceaccounts", ALL), "create", *LEASES, "a"),
            "service-accounts",
            "workload-low",
            f"{ACCOUNT}shop:x",
        ),
        (
            Request("system:node:n", ("system:nodes", ALL), "patch", "", "nodes/status"),
            "system-node-high",
            "node-high",
            "system:node:n",
        ),
        (
            Request("system:node:n", ("system:nodes", ALL), "list", "", "pods"),
            "system-nodes",
            "system",
            "system:node:n",
        ),
        (
            Request("system:kube-scheduler", (ALL,), "create", "", "pods/binding", "shop"),
            "kube-scheduler",
            "workload-high",
            "shop",
        ),
        (
            Request(f"{ACCOUNT}kube-system:dns", ("system:serviceaccounts",), "list", "", "pods"),
            "kube-system-service-accounts",
            "workload-high",
            "",
        ),
        (
            Request("ann", (ALL,), "list", "example.com", "things", "a"),
            "global-default",
            "global-default",
            "ann",
        ),
        (
            Request("system:anonymous", ("system:unauthenticated",), "get", path="/api"),
            "global-default",
            "global-default",
            "system:anonymous",
        ),
        (Request("odd", (), "get", "", "pods"), "catch-all", "catch-all", "odd"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_defaults_place_requests_as_upstream(
    request_: Request, schema: str, level: str, flow: str
) -> None:
    found = FlowControl().find(request_)
    assert (found.schema.name, found.level.config.name, found.name) == (schema, level, flow)


def test_default_objects_have_upstreams_names() -> None:
    assert {o["metadata"]["name"] for o in default_levels()} == {
        "catch-all", "exempt", "global-default", "leader-election", "node-high", "system",
        "workload-high", "workload-low",
    }  # fmt: skip
    specs = {o["metadata"]["name"]: o["spec"] for o in default_schemas()}
    facts = {
        name: (
            spec["matchingPrecedence"],
            spec["priorityLevelConfiguration"]["name"],
            spec.get("distinguisherMethod", {}).get("type", ""),
        )
        for name, spec in specs.items()
    }
    assert facts == {
        "exempt": (1, "exempt", ""),
        "probes": (2, "exempt", ""),
        "system-leader-election": (100, "leader-election", "ByUser"),
        "system-node-high": (400, "node-high", "ByUser"),
        "system-nodes": (500, "system", "ByUser"),
        "kube-controller-manager": (800, "workload-high", "ByNamespace"),
        "kube-scheduler": (800, "workload-high", "ByNamespace"),
        "kube-system-service-accounts": (900, "workload-high", "ByNamespace"),
        "service-accounts": (9000, "workload-low", "ByUser"),
        "global-default": (9900, "global-default", "ByUser"),
        "catch-all": (10000, "catch-all", "ByUser"),
    }


def test_default_levels_share_as_upstreams() -> None:
    limited = {
        o["metadata"]["name"]: o["spec"]["limited"]
        for o in default_levels()
        if o["spec"]["type"] == "Limited"
    }
    facts = {
        name: (
            spec["nominalConcurrencyShares"],
            spec["lendablePercent"],
            tuple(spec["limitResponse"].get("queuing", {}).values()),
        )
        for name, spec in limited.items()
    }
    assert facts == {
        "system": (30, 33, (64, 6, 50)),
        "node-high": (40, 25, (64, 6, 50)),
        "leader-election": (10, 0, (16, 4, 50)),
        "workload-high": (40, 50, (128, 6, 50)),
        "workload-low": (100, 90, (128, 6, 50)),
        "global-default": (20, 50, (128, 6, 50)),
        "catch-all": (5, 0, ()),
    }


async def test_objects_of_the_api_are_obeyed_and_headers_name_them() -> None:
    cluster = MemoryCluster()
    writer = MemoryWriter(cluster)
    control = FlowControl()
    follow(control, cluster)
    assert await ensure_flow_objects(cluster, writer) == 19
    assert await ensure_flow_objects(cluster, writer) == 0
    ann = Request("ann", (ALL,), "list", "", "pods", "a")
    headers = dict(control.find(ann).headers)
    schema = next(s for s in default_schemas() if s["metadata"]["name"] == "global-default")
    assert set(headers) == {
        "x-kubernetes-pf-flowschema-uid",
        "x-kubernetes-pf-prioritylevel-uid",
    }
    own = {
        **schema,
        "metadata": {"name": "of-ann"},
        "spec": {
            **schema["spec"],
            "matchingPrecedence": 50,
            "priorityLevelConfiguration": {"name": "workload-low"},
        },
    }
    stored = cluster.put(own)
    found = control.find(ann)
    assert (found.schema.name, found.level.config.name) == ("of-ann", "workload-low")
    assert dict(found.headers)["x-kubernetes-pf-flowschema-uid"] == stored["metadata"]["uid"]
    cluster.remove(stored)
    assert control.find(ann).schema.name == "global-default"


async def test_who_waits_keeps_its_place_when_a_level_changes() -> None:
    control = FlowControl(seats=8)
    flow = control.find(Request("ann", (ALL,), "list", "", "pods", "a"))
    while flow.level.take(1):
        pass
    waiting = asyncio.create_task(control.turn(flow))
    await asyncio.sleep(0)
    levels = [level for level in default_levels() if level["metadata"]["name"] != "workload-low"]
    control.configure(levels, default_schemas())
    async with asyncio.timeout(30):
        (await waiting).end()


async def test_mended_is_what_was_changed_and_not_taken_over() -> None:
    cluster = MemoryCluster()
    writer = MemoryWriter(cluster)
    await ensure_flow_objects(cluster, writer)
    for level in default_levels():
        name = level["metadata"]["name"]
        if name in ("system", "workload-low"):
            said = "true" if name == "system" else "false"
            level["metadata"]["annotations"] = {"apf.kubernetes.io/autoupdate-spec": said}
            level["spec"]["limited"]["nominalConcurrencyShares"] = 1
            cluster.put(level)
    assert await ensure_flow_objects(cluster, writer) == 1


def test_defaults_that_were_filled_in_are_no_difference() -> None:
    assert holds({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]})
    assert not holds({"a": [1, 2]}, {"a": [1]})
    assert not holds({}, {"a": 1})
