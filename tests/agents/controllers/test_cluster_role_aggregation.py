"""Aggregated ClusterRoles: which rules they get."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from agents.controllers.cluster_role_aggregation import aggregated_rules
from kubraft.api.gvk import CLUSTER_ROLE
from kubraft.api.object import Object
from tests.agents.controllers.cluster import Cluster


def rule(resource: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}


def role(name: str, *resources: str, labels: Any = None, selects: Any = None) -> Object:
    made: Object = {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": {"name": name, "labels": labels or {}},
        "rules": [rule(resource) for resource in resources],
    }
    if selects is not None:
        selectors = [{"matchLabels": selector} for selector in selects]
        made["aggregationRule"] = {"clusterRoleSelectors": selectors}
    return made


def test_rules_come_by_name_of_their_role_and_each_once() -> None:
    whole = role("whole", "old", labels={"a": "1"}, selects=[{"a": "1"}, {"b": "1"}])
    parts = [
        role("z", "pods", "nodes", labels={"a": "1"}),
        role("b", "secrets", "pods", labels={"b": "1"}),
        role("c", "leases", labels={"c": "1"}),
    ]
    assert aggregated_rules(whole, [*parts, whole]) == [
        rule("secrets"), rule("pods"), rule("nodes"),
    ]  # fmt: skip


def test_a_selector_that_cannot_be_read_selects_nothing() -> None:
    whole = role("whole", selects=[])
    whole["aggregationRule"] = {
        "clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "What"}]}]
    }
    assert aggregated_rules(whole, [role("z", "pods", labels={"a": "1"})]) == []


@pytest.mark.e2e
@pytest.mark.xdist_group("controllers")
async def test_a_role_follows_those_that_it_selects(cluster: Cluster) -> None:
    label = {f"test/{uuid.uuid4().hex[:8]}": "true"}
    names = [f"aggregated-{uuid.uuid4().hex[:8]}", f"part-{uuid.uuid4().hex[:8]}"]
    await cluster.client.create(role(names[0], selects=[label]))
    await cluster.client.create(role(names[1], "pods", labels=label))

    async def rules() -> Any:
        return (await cluster.client.get(CLUSTER_ROLE, names[0])).get("rules")

    try:
        async with asyncio.timeout(60):
            while await rules() != [rule("pods")]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await cluster.client.delete(CLUSTER_ROLE, names[1])
            while await rules():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await cluster.client.delete(CLUSTER_ROLE, names[0])
