"""status.typeChecking of policies: what does not fit the types of what they match."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apiserver.policy_status import PolicyStatus
from kubraft.api.gvk import VALIDATING_ADMISSION_POLICY as POLICY
from kubraft.api.object import Object
from tests.apiserver.harness import Bench
from tests.harness.eventually import eventually

DEPLOYMENTS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
ANYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}


@pytest.fixture
async def checked(bench: Bench) -> AsyncIterator[Bench]:
    """A bench whose policies are looked at."""
    task = asyncio.create_task(
        PolicyStatus(bench.reader, bench.writer, bench.registry.machinery).run()
    )
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _policy(*expressions: str, rules: Any = (DEPLOYMENTS,), **spec: Any) -> Object:
    operations = {"operations": ["CREATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "rules"},
        "spec": {
            "matchConstraints": {"resourceRules": [{**rule, **operations} for rule in rules]},
            "validations": [{"expression": expression} for expression in expressions],
            **spec,
        },
    }


async def _status(bench: Bench, generation: int = 1) -> dict[str, Any]:
    def status() -> dict[str, Any]:
        return (bench.reader.get(POLICY, "", "rules") or {}).get("status") or {}

    await eventually(lambda: status().get("observedGeneration") == generation, timeout_s=60)
    return status()


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas < 5",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('r/'))",
        "object.metadata.labels['a'] == 'b' && !has(object.metadata.deletionTimestamp)",
        "object.spec.strategy.rollingUpdate.maxSurge == 1 || request.userInfo.username == 'a'",
        "quantity(object.spec.template.spec.containers[0].resources.limits['cpu']).sign() > 0",
        "authorizer.group('').resource('pods').check('get').allowed() || variables.any > 1",
        "oldObject == null || object.spec.replicas >= oldObject.spec.replicas",
    ],
)
async def test_expressions_that_fit(checked: Bench, expression: str) -> None:
    variables = [{"name": "any", "expression": "1"}]
    await checked.create(_policy(expression, variables=variables))
    assert await _status(checked) == {"observedGeneration": 1, "typeChecking": {}}


@pytest.mark.parametrize(
    ("expression", "warning"),
    [
        ("object.spec.replica > 1", "undefined field 'replica'"),
        (
            "object.spec.replicas == 'x'",
            "'_==_' applied to '(int, string)'",
        ),
        ("object.metadata.name > 3", "'_>_' applied to '(string, int)'"),
        ("object.spec.template.spec.containers.all(c, c.img == '')", "undefined field 'img'"),
    ],
)
async def test_expressions_that_do_not_fit(checked: Bench, expression: str, warning: str) -> None:
    await checked.create(_policy("true", expression))
    (found,) = (await _status(checked))["typeChecking"]["expressionWarnings"]
    assert found["fieldRef"] == "spec.validations[1].expression"
    assert found["warning"].startswith("apps/v1, Kind=Deployment: compilation failed: ERROR: ")
    assert warning in found["warning"]


async def test_each_kind_is_named_and_wildcards_are_not_followed(checked: Bench) -> None:
    rules = (PODS, DEPLOYMENTS, ANYTHING)
    await checked.create(_policy("object.spec.replicas > 1 && object.nothing == 1", rules=rules))
    (found,) = (await _status(checked))["typeChecking"]["expressionWarnings"]
    assert found["warning"].count("undefined field 'replicas'") == 1  # of Pods
    assert found["warning"].count("undefined field 'nothing'") == 2
    assert [line for line in found["warning"].splitlines() if "Kind=" in line][1].startswith(
        "apps/v1, Kind=Deployment"
    )


async def test_a_changed_policy_is_checked_anew(checked: Bench) -> None:
    await checked.create(_policy("object.nothing == 1"))
    assert (await _status(checked))["typeChecking"]
    made = await checked.get(POLICY, "rules")
    made["spec"]["validations"] = [{"expression": "object.spec.replicas > 1"}]
    await checked.update(made)
    assert (await _status(checked, 2))["typeChecking"] == {}
