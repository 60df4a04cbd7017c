"""What /metrics says of admission, under the names that dashboards and alerts ask for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import web

from apiserver.admission.figures import AdmissionFigures
from apiserver.registry.policy import Policy
from kubraft.api.errors import ApiError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.figures import SERIES_MAX, Counter, Histogram
from tests.apiserver.admission.hooks_server import HookServer, configuration
from tests.apiserver.harness import Bench, pod
from tests.harness.eventually import eventually

GROUP = "admissionregistration.k8s.io/v1"


def test_a_histogram_counts_into_every_bucket_above() -> None:
    histogram = Histogram("took_seconds", "How long.", ("who",), (0.1, 1.0))
    for value in (0.1, 0.5, 7.0):
        histogram.observe(value, 'a"b\n')
    assert list(histogram.lines()) == [
        "# HELP took_seconds How long.",
        "# TYPE took_seconds histogram",
        'took_seconds_bucket{who="a\\"b\\n",le="0.1"} 1',
        'took_seconds_bucket{who="a\\"b\\n",le="1"} 2',
        'took_seconds_bucket{who="a\\"b\\n",le="+Inf"} 3',
        'took_seconds_sum{who="a\\"b\\n"} 7.6',
        'took_seconds_count{who="a\\"b\\n"} 3',
    ]


def test_series_are_bounded() -> None:
    counter = Counter("seen_count", "What was seen.", ("who",))
    for index in range(SERIES_MAX + 10):
        counter.inc(str(index))
    counter.inc("0")
    lines = list(counter.lines())
    assert len(lines) == 2 + SERIES_MAX
    assert 'seen_count{who="0"} 2' in lines


def test_what_nobody_has_counted_is_not_shown() -> None:
    assert AdmissionFigures().text() == b""


def _figures(bench: Bench) -> dict[str, float]:
    policy = bench.registry.policy
    assert isinstance(policy, Policy)
    chain: Any = policy.admission
    text = chain.figures.text().decode()
    return {
        found[1]: float(found[2])
        for found in re.finditer(r"^([a-z_]+\{.*\}) (\S+)$", text, re.MULTILINE)
    }


async def _configure(bench: Bench, *objects: Object) -> None:
    for obj in objects:
        await bench.writer.create(obj)
        place = (gvk_of(obj), "", obj["metadata"]["name"])
        await eventually(lambda place=place: bench.reader.get(*place))  # type: ignore[misc]


_ENDS = [
    pytest.param(lambda _: {}, {}, "200", "false", None, id="allowed"),
    pytest.param(
        lambda _: {"allowed": False, "status": {"code": 403}},
        {},
        "403",
        "true",
        "no_error",
        id="denied",
    ),
    pytest.param(
        lambda _: {"allowed": False, "status": {"code": 599}},
        {},
        "599",
        "true",
        "no_error",
        id="denied with a code of its own",
    ),
    pytest.param(
        lambda _: web.Response(status=500, text="broken"),
        {},
        "500",
        "true",
        "calling_webhook_error",
        id="broken",
    ),
    pytest.param(lambda _: b"no json", {}, "503", "true", "calling_webhook_error", id="nonsense"),
    pytest.param(
        lambda _: web.Response(status=404),
        {"failurePolicy": "Ignore"},
        "404",
        "false",
        None,
        id="ignored",
    ),
]


@pytest.mark.parametrize("sort", ["Validating", "Mutating"])
@pytest.mark.parametrize(("answer", "fields", "code", "rejected", "error"), _ENDS)
async def test_calls_of_webhooks_are_counted(
    *,
    bench: Bench,
    hooks: HookServer,
    sort: str,
    answer: Any,
    fields: dict[str, Any],
    code: str,
    rejected: str,
    error: str | None,
) -> None:
    hooks.answers["/x"] = answer
    await _configure(bench, configuration(sort, hooks.hook("/x", "x.hooks.test", **fields)))
    if rejected == "true":
        with pytest.raises(ApiError):
            await bench.create(pod())
    else:
        await bench.create(pod())
    found = _figures(bench)
    kind = "validating" if sort == "Validating" else "admit"
    labels = f'name="x.hooks.test",type="{kind}",operation="CREATE"'
    counted = f'webhook_request_total{{{labels},code="{code}",rejected="{rejected}"}}'
    assert found[f"apiserver_admission_{counted}"] == 1
    took = f'webhook_admission_duration_seconds_bucket{{{labels},rejected="{rejected}",le="25"}}'
    assert found[f"apiserver_admission_{took}"] == 1
    rejections = [key for key in found if "webhook_rejection_count" in key]
    expected = f'{{{labels},error_type="{error}",rejection_code="{code}"}}'
    assert rejections == (
        [f"apiserver_admission_webhook_rejection_count{expected}"] if error else []
    )
    opened = f'apiserver_admission_webhook_fail_open_count{{name="x.hooks.test",type="{kind}"}}'
    assert found.get(opened, 0) == (1 if fields else 0)
    step = "validate" if sort == "Validating" else "admit"
    rows = f'type="{step}",operation="CREATE",rejected="{rejected}"'
    assert found[f"apiserver_admission_step_admission_duration_seconds_count{{{rows}}}"] >= 1
    plugin = f'name="{sort}AdmissionWebhook",{rows}'
    assert (
        found[f"apiserver_admission_controller_admission_duration_seconds_count{{{plugin}}}"] == 1
    )


async def test_conditions_of_webhooks_are_counted(bench: Bench, hooks: HookServer) -> None:
    def conditions(expression: str) -> dict[str, Any]:
        return {
            "matchConditions": [{"name": "a", "expression": expression}],
            "failurePolicy": "Ignore",
        }

    rows = [
        hooks.hook("/x", "no.hooks.test", **conditions("false")),
        hooks.hook("/x", "broken.hooks.test", **conditions("object.nothing == 1")),
    ]
    await _configure(bench, configuration("Validating", *rows))
    await bench.create(pod())
    found = _figures(bench)
    labels = ',kind="webhook",type="validating",operation="CREATE"'
    prefix = "apiserver_admission_match_condition_"
    assert found[f'{prefix}exclusions_total{{name="no.hooks.test"{labels}}}'] == 1
    assert found[f'{prefix}evaluation_errors_total{{name="broken.hooks.test"{labels}}}'] == 1
    assert found[f'{prefix}evaluation_seconds_count{{name="no.hooks.test"{labels}}}'] == 1
    assert hooks.asked == []


def _policy(sort: str, **spec: Any) -> tuple[Object, Object]:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    actions = {"validationActions": ["Warn", "Audit"]} if sort == "Validating" else {}
    return (
        {
            "apiVersion": GROUP,
            "kind": f"{sort}AdmissionPolicy",
            "metadata": {"name": "rules"},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, **spec},
        },
        {
            "apiVersion": GROUP,
            "kind": f"{sort}AdmissionPolicyBinding",
            "metadata": {"name": "bound"},
            "spec": {"policyName": "rules", **actions},
        },
    )


@pytest.mark.parametrize(
    ("validation", "spec", "error", "actions"),
    [
        ("false", {}, "no_error", ["audit", "warn"]),
        ("object.nothing == 1", {}, "invalid_error", ["audit", "warn"]),
        ("object.nothing == 1", {"failurePolicy": "Ignore"}, "invalid_error", ["allow"]),
        ("true", {}, "", []),
    ],
)
async def test_validations_of_policies_are_counted(
    *,
    bench: Bench,
    hooks: HookServer,
    validation: str,
    spec: dict[str, Any],
    error: str,
    actions: list[str],
) -> None:
    del hooks  # for the chain alone
    validations = [{"expression": validation}]
    await _configure(bench, *_policy("Validating", validations=validations, **spec))
    await bench.create(pod())
    prefix = "apiserver_validating_admission_policy_check_total"
    counted = {key: n for key, n in _figures(bench).items() if key.startswith(prefix)}
    labels = f'policy="rules",policy_binding="bound",error_type="{error}"'
    assert counted == {
        f'{prefix}{{{labels},enforcement_action="{action}"}}': 1 for action in actions
    }


async def test_mutations_of_policies_are_counted(bench: Bench, hooks: HookServer) -> None:
    del hooks
    patch = "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'a': 'b'}}]"
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}
    spec = {"mutations": [mutation], "reinvocationPolicy": "Never"}
    await _configure(bench, *_policy("Mutating", **spec))
    made = await bench.create(pod())
    assert made["metadata"]["annotations"] == {"a": "b"}
    labels = 'policy="rules",policy_binding="bound",error_type="no_error"'
    assert _figures(bench)[f"apiserver_mutating_admission_policy_check_total{{{labels}}}"] == 1
