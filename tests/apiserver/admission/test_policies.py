"""Policies in CEL: validating ones and mutating ones, through the whole chain."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from apiserver import notes
from apiserver.admission import build_chain
from apiserver.authz import Authorizer
from apiserver.registry.admission_context import make_context
from apiserver.registry.policy import Policy
from kubraft.api.errors import ApiError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from tests.apiserver.harness import AllowAll, Bench, pod, simple
from tests.harness.eventually import eventually

GROUP = "admissionregistration.k8s.io/v1"
RULE = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["pods", "configmaps"],
}


@pytest.fixture
async def chained(bench: Bench) -> Bench:
    """A bench whose writes go through the whole chain."""
    context = make_context(bench.registry.machinery, bench.reader, bench.writer, Random(1))
    labels = {"team": "a"}
    metadata = {"name": "default", "labels": labels}
    await bench.writer.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    await bench.writer.create(simple("ServiceAccount", "default"))
    chain = build_chain(context, Authorizer(bench.reader))
    bench.registry.policy = Policy(AllowAll(), chain)
    return bench


async def put(bench: Bench, *objects: Object) -> None:
    for obj in objects:
        metadata = obj["metadata"]
        await bench.create(obj)
        place = (gvk_of(obj), metadata.get("namespace", ""), metadata["name"])
        await eventually(lambda place=place: bench.reader.get(*place))  # type: ignore[misc]


def policy(sort: str, **spec: Any) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": f"{sort}AdmissionPolicy",
        "metadata": {"name": "rules"},
        "spec": {"matchConstraints": {"resourceRules": [RULE]}, **spec},
    }


def binding(sort: str, name: str = "bound", **spec: Any) -> Object:
    actions = {"validationActions": ["Deny"]} if sort == "Validating" else {}
    return {
        "apiVersion": GROUP,
        "kind": f"{sort}AdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": "rules", **actions, **spec},
    }


def validation(expression: str, **fields: Any) -> dict[str, Any]:
    return {"expression": expression, **fields}


async def refusal(bench: Bench, obj: Object) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        await bench.create(obj)
    return caught.value.to_status()


async def test_a_policy_denies_in_upstreams_words(chained: Bench) -> None:
    rule = validation("object.spec.containers.all(c, c.image.startsWith('registry/'))")
    await put(chained, policy("Validating", validations=[rule]), binding("Validating"))
    status = await refusal(chained, pod())
    message = (
        "ValidatingAdmissionPolicy 'rules' with binding 'bound' denied request: "
        f"failed expression: {rule['expression']}"
    )
    assert status["message"] == f'pods "web" is forbidden: {message}'
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["details"] == {"name": "web", "kind": "pods", "causes": [{"message": message}]}
    good = pod()
    good["spec"]["containers"][0]["image"] = "registry/web"
    await chained.create(good)


_MESSAGES = [
    (validation("false", message=" plain "), "plain", 422),
    (validation("false", messageExpression="'no ' + object.metadata.name"), "no web", 422),
    (validation("false", messageExpression="'two\\nlines'", message="plain"), "plain", 422),
    (validation("false", messageExpression="object.nothing", message="plain"), "plain", 422),
    (validation("false", reason="Forbidden"), "failed expression: false", 403),
    (validation("false", reason="Unauthorized"), "failed expression: false", 401),
    (validation("false", reason="RequestEntityTooLarge"), "failed expression: false", 413),
    (
        validation("object.nothing == 1"),
        "expression 'object.nothing == 1' resulted in error: no such key: nothing",
        422,
    ),
    (validation("variables.big > 3", message="too big"), "too big", 422),
    (
        validation("variables.broken > 3"),
        (
            "expression 'variables.broken > 3' resulted in error: composited variable \"broken\" "
            "fails to evaluate: no such key: nothing"
        ),
        422,
    ),
    (validation("namespaceObject.metadata.labels.team == 'b'", message="team"), "team", 422),
    (validation("request.userInfo.username != 'admin'", message="who"), "who", 422),
    (validation("oldObject != null", message="new"), "new", 422),
    (
        validation(
            "authorizer.group('').resource('secrets').namespace('x').check('get').allowed() == "
            "false",
            message="master",
        ),
        "master",
        422,
    ),
    (
        validation("quantity('2Gi').isLessThan(quantity('1Gi'))", message="quantity"),
        "quantity",
        422,
    ),
    (validation("size(variables.many) == 0", message="many"), "many", 422),
]


@pytest.mark.parametrize(("rule", "message", "code"), _MESSAGES)
async def test_what_a_validation_says(
    chained: Bench, rule: dict[str, Any], message: str, code: int
) -> None:
    variables = [
        {"name": "small", "expression": "size(object.spec.containers)"},
        {"name": "big", "expression": "variables.small + 1"},
        {"name": "broken", "expression": "object.nothing"},
        {"name": "many", "expression": "object.spec.containers.map(c, c.name)"},
    ]
    made = policy("Validating", validations=[rule], variables=variables)
    await put(chained, made, binding("Validating"))
    status = await refusal(chained, pod())
    assert status["message"].endswith(f"denied request: {message}")
    assert status["code"] == code


@pytest.mark.parametrize(
    ("spec", "bound", "is_denied"),
    [
        ({}, {}, True),
        ({"matchConditions": [{"name": "a", "expression": "request.name == 'x'"}]}, {}, False),
        ({}, {"matchResources": {"namespaceSelector": {"matchLabels": {"team": "b"}}}}, False),
        ({}, {"matchResources": {"namespaceSelector": {"matchLabels": {"team": "a"}}}}, True),
        ({}, {"matchResources": {"objectSelector": {"matchLabels": {"app": "x"}}}}, False),
        (
            {},
            {"matchResources": {"excludeResourceRules": [{**RULE, "resources": ["pods"]}]}},
            False,
        ),
        (
            {},
            {"matchResources": {"resourceRules": [{**RULE, "resourceNames": ["other"]}]}},
            False,
        ),
        ({}, {"policyName": "another"}, False),
    ],
)
async def test_what_a_policy_is_about(
    chained: Bench, spec: dict[str, Any], bound: dict[str, Any], is_denied: bool
) -> None:
    made = policy("Validating", validations=[validation("false")], **spec)
    await put(chained, made, binding("Validating", **bound))
    if is_denied:
        assert (await refusal(chained, pod()))["code"] == 422
    else:
        await chained.create(pod())


async def test_failures_are_passed_over_where_the_policy_says_so(chained: Bench) -> None:
    rules = [validation("object.nothing == 1"), validation("1 / 0 == 1")]
    made = policy("Validating", validations=rules, failurePolicy="Ignore")
    await put(chained, made, binding("Validating"))
    await chained.create(pod())


@pytest.mark.parametrize(
    "runaway", ["all(a, {0}.all(b, true))", "map(a, {0}.map(b, a + b)).size() > 0"]
)
async def test_an_expression_that_costs_too_much_ends(chained: Bench, runaway: str) -> None:
    list_ = "object.data.list.split(',')"
    expression = f"{list_}.{runaway.format(list_)}"
    made = policy("Validating", validations=[validation(expression)])
    await put(chained, made, binding("Validating"))
    long = simple("ConfigMap", "long", data={"list": ",".join("x" * 2000)})
    status = await refusal(chained, long)
    assert status["message"].endswith(
        "validation failed due to running out of cost budget, no further validation rules will "
        "be run"
    )


async def test_warnings_and_audit(chained: Bench) -> None:
    rule = validation("false", message="careful")
    annotation = {"key": "seen", "valueExpression": "'name is ' + object.metadata.name"}
    made = policy("Validating", validations=[rule], auditAnnotations=[annotation])
    await put(chained, made, binding("Validating", validationActions=["Warn", "Audit"]))
    said = notes.begin()
    await chained.create(pod())
    assert said.warnings == [
        "Validation failed for ValidatingAdmissionPolicy 'rules' with binding 'bound': careful"
    ]
    assert said.annotations["rules/seen"] == "name is web"
    assert said.annotations["validation.policy.admission.k8s.io/validation_failure"] == (
        '[{"message":"careful","policy":"rules","binding":"bound","expressionIndex":0,'
        '"validationActions":["Warn","Audit"]}]'
    )


_CONFIG_MAPS = {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ({"name": "limits"}, "failed expression"),
        ({"selector": {"matchLabels": {"for": "rules"}}}, "failed expression"),
        (
            {"name": "absent"},
            "no params found for policy binding with `Deny` parameterNotFoundAction",
        ),
        ({"name": "absent", "parameterNotFoundAction": "Allow"}, ""),
    ],
)
async def test_parameters_come_from_objects(
    chained: Bench, ref: dict[str, Any], message: str
) -> None:
    params = simple("ConfigMap", "limits", data={"most": "0"})
    params["metadata"]["labels"] = {"for": "rules"}
    rule = validation("size(object.spec.containers) <= int(params.data.most)")
    made = policy("Validating", validations=[rule], paramKind=_CONFIG_MAPS)
    reference = {"parameterNotFoundAction": "Deny", "namespace": "default", **ref}
    await put(chained, params, made, binding("Validating", paramRef=reference))
    if message:
        assert message in (await refusal(chained, pod()))["message"]
    else:
        await chained.create(pod())


_PATCH = """[
  JSONPatch{op: "test", path: "/kind", value: "Pod"},
  JSONPatch{op: "add", path: "/metadata/labels", value: {"a": "b"}},
  JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("x/y"), value: "z"}
]"""
_APPLY = """Object{
  metadata: Object.metadata{labels: {"a": "b", "x/y": "z"}},
  spec: Object.spec{containers: [Object.spec.containers{name: "c", imagePullPolicy: "Never"}]}
}"""


@pytest.mark.parametrize(
    "mutation",
    [
        {"patchType": "JSONPatch", "jsonPatch": {"expression": _PATCH}},
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": _APPLY}},
    ],
)
async def test_a_policy_changes_objects(chained: Bench, mutation: dict[str, Any]) -> None:
    made = policy("Mutating", mutations=[mutation], reinvocationPolicy="Never")
    await put(chained, made, binding("Mutating"))
    changed = await chained.create(pod())
    assert changed["metadata"]["labels"] == {"a": "b", "x/y": "z"}
    (container,) = changed["spec"]["containers"]
    assert container["image"] == "kubraft/web:1"
    if "applyConfiguration" in mutation:
        assert container["imagePullPolicy"] == "Never"


_SIDECAR = """Object{spec: Object.spec{
  initContainers: [
    Object.spec.initContainers{name: "mesh", image: "proxy", restartPolicy: "Always"}],
  tolerations: null,
  volumes: object.spec.?volumes.orValue([]).filter(v, v.name != "cfg").size() >= 0 ? [
    Object.spec.volumes{name: "cfg", emptyDir: Object.spec.volumes.emptyDir{}}] : []
}}"""


async def test_a_configuration_merges_as_a_server_side_apply(chained: Bench) -> None:
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": _SIDECAR},
    }
    await put(chained, policy("Mutating", mutations=[mutation]), binding("Mutating"))
    first = {"name": "setup", "image": "setup"}
    own = {"name": "cfg", "emptyDir": {"medium": "Memory"}}
    made = await chained.create(pod(initContainers=[first], volumes=[own]))
    spec = made["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["setup", "mesh"]
    assert spec["volumes"][0] == own
    assert len(spec["containers"]) == 1
    managers = {each["manager"] for each in made["metadata"].get("managedFields", ())}
    assert "MutatingAdmissionPolicy" not in managers


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("object.nothing", "no such key: nothing"),
        ("Object{metadata: Object.metadata{name: 'other'}}", "metadata.name may not be changed"),
        (
            "Object{spec: Object.spec{containers: 3}}",
            "failed to convert patch object to typed object: .spec.containers: expected list",
        ),
        (
            "Object{spec: Object.spec{nowhere: 3}}",
            ".spec.nowhere: field not declared in schema",
        ),
        (
            "Object{spec: Object.spec{containers: [{'name': 'c', 'command': ['sh']}]}}",
            "may not mutate atomic arrays, maps or structs: .spec.containers[0].command",
        ),
        (
            "Object{spec: Object.spec{nodeSelector: {'a': 'b'}}}",
            "may not mutate atomic arrays, maps or structs: .spec.nodeSelector",
        ),
        (
            "Object{spec: Object.spec{containers: [Object.spec.containers{image: 'x'}]}}",
            "associative list with keys has an element that omits all key fields",
        ),
        ("'text'", "has a value of the wrong type"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    chained: Bench, expression: str, message: str
) -> None:
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": expression},
    }
    made = policy("Mutating", mutations=[mutation], reinvocationPolicy="IfNeeded")
    await put(chained, made, binding("Mutating"))
    status = await refusal(chained, pod())
    assert status["code"] == 403
    assert status["message"].startswith("policy 'rules' with binding 'bound' denied request: ")
    assert message in status["message"]


@pytest.mark.parametrize(
    ("obj", "field", "message"),
    [
        (
            policy("Validating", validations=[validation("object.")]),
            "spec.validations[0].expression",
            "compilation failed: ERROR",
        ),
        (
            policy("Validating", validations=[validation("nobody == 1")]),
            "spec.validations[0].expression",
            "undeclared reference to 'nobody'",
        ),
        (
            policy("Validating", validations=[validation("'x'" + ".map(a, a + a)" * 30 + " == 1")]),
            "spec.validations[0].expression",
            "estimated cost of the expression exceeds the budget",
        ),
        (policy("Validating"), "spec.validations", "must contain at least one item"),
        (
            binding("Validating", validationActions=["Deny", "Warn"]),
            "spec.validationActions",
            "must not contain both Deny and Warn",
        ),
        (binding("Validating", validationActions=[]), "spec.validationActions", "at least one"),
        (policy("Mutating"), "spec.mutations", "must contain at least one item"),
        (
            policy(
                "Mutating",
                mutations=[{"patchType": "JSONPatch", "jsonPatch": {"expression": "["}}],
            ),
            "spec.mutations[0].jsonPatch.expression",
            "compilation failed",
        ),
    ],
)
async def test_policies_are_validated(
    chained: Bench, obj: Object, field: str, message: str
) -> None:
    status = await refusal(chained, obj)
    assert status["reason"] == "Invalid"
    causes = {cause["field"]: cause["message"] for cause in status["details"]["causes"]}
    assert message in causes[field]
