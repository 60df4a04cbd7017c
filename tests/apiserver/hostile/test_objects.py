"""No object of any kind meets a defect: whatever is sent, the answer is an object or a Status."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubraft.api.object import Object
from tests.apiserver.hostile.budget import SECONDS, seeds
from tests.apiserver.hostile.in_memory import asking, check_answer
from tests.apiserver.hostile.mutation import Mutator
from tests.apiserver.hostile.stories import APPLY, Story
from tests.apiserver.registry.kind_cases import CASES, thing
from tests.apiserver.registry.more_kind_cases import MORE_CASES
from tests.apiserver.registry.test_robustness import SEEDS

ADMISSION = "admissionregistration.k8s.io/v1"
HOOK: Object = {
    "name": "a.b.c",
    "clientConfig": {"url": "https://127.0.0.1:1/x"},
    "rules": [
        {"apiGroups": ["x"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["nothings"]}
    ],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "matchConditions": [{"name": "m", "expression": "object.x > 1"}],
    "timeoutSeconds": 1,
}
MATCH: Object = {"resourceRules": HOOK["rules"]}
SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "self.size < 3", "message": "too large"}],
            "properties": {
                "size": {"type": "integer", "minimum": 0, "default": 1},
                "name": {"type": "string", "pattern": "^a*$", "maxLength": 9, "format": "date"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["p"],
                    "items": {
                        "type": "object",
                        "required": ["p"],
                        "properties": {"p": {"type": "integer"}},
                    },
                },
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
DEFINITION = thing(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "gadgets.acme.io",
    spec={
        "group": "acme.io",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
                }},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
                ],
                "selectableFields": [{"jsonPath": ".spec.name"}],
            }
        ],
    },
)  # fmt: skip
MORE: tuple[Object, ...] = (
    DEFINITION,
    thing(ADMISSION, "ValidatingWebhookConfiguration", webhooks=[HOOK]),
    thing(ADMISSION, "MutatingWebhookConfiguration", webhooks=[HOOK]),
    thing(
        ADMISSION,
        "ValidatingAdmissionPolicy",
        spec={
            "matchConstraints": MATCH,
            "variables": [{"name": "n", "expression": "object.spec.n"}],
            "validations": [{"expression": "variables.n > 1", "messageExpression": "'no'"}],
            "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
        },
    ),
    thing(
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        spec={"policyName": "x", "validationActions": ["Deny"], "matchResources": MATCH},
    ),
)
ALL: list[tuple[Object, Object | None]] = [
    *((case.obj, case.status) for case in (*CASES, *MORE_CASES)),
    *((seed, None) for seed in (*SEEDS, *MORE)),
]


@pytest.mark.timeout(120 + SECONDS)
async def test_objects_of_all_kinds(tmp_path: Path, pki: Path) -> None:
    async with asking(tmp_path, pki) as front:
        resources = front.served.server._registry.resources
        for seed in seeds(1):
            mutator = Mutator(seed)
            for obj, status in ALL:
                row = resources.find(obj["apiVersion"], obj["kind"])
                assert row is not None
                await Story(front, mutator, row).tell(obj, status)


GADGET: Object = {
    "apiVersion": "acme.io/v1",
    "kind": "Gadget",
    "metadata": {"name": "x"},
    "spec": {"size": 1, "name": "aa", "ports": [{"p": 1}]},
}


@pytest.mark.timeout(120 + SECONDS)
async def test_custom_objects_under_odd_schemas(tmp_path: Path, pki: Path) -> None:
    """Whatever definition is accepted, its objects are stored or refused in words."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with asking(tmp_path, pki) as front:
        resources = front.served.server._registry.resources
        for seed in seeds(20):
            mutator = Mutator(seed)
            odd = mutator.mutated(DEFINITION, resources.find("", "CustomResourceDefinition").gvk)  # type: ignore[union-attr]
            version = odd["spec"]["versions"][0] if _has_version(odd) else None
            if version is not None:
                schema = mutator.definition("JSONSchemaProps")
                given = version["schema"]["openAPIV3Schema"]
                version["schema"]["openAPIV3Schema"] = mutator.changed(given, schema)
            found = await front.ask("PUT", f"{path}/gadgets.acme.io", odd)
            check_answer(await front.ask("POST", path, odd) if found.status == 404 else found)
            row = resources.find_plural("acme.io", "v1", "gadgets")
            if row is None:
                check_answer(await front.ask("POST", path, DEFINITION))
                continue
            objects = "/apis/acme.io/v1/namespaces/default/gadgets"
            for _ in range(4):
                obj = {
                    **GADGET,
                    "spec": mutator.changed(GADGET["spec"], SCHEMA["properties"]["spec"]),
                }
                check_answer(await front.ask("POST", objects, obj))
                query = "?fieldManager=m&force=true"
                check_answer(await front.ask("PATCH", f"{objects}/x{query}", obj, kind=APPLY))
                check_answer(await front.ask("GET", f"{objects}?fieldSelector=spec.name%3Daa"))
                check_answer(await front.ask("DELETE", f"{objects}/x"))
            check_answer(await front.ask("GET", "/openapi/v2"))
            check_answer(await front.ask("GET", "/openapi/v3/apis/acme.io/v1"))


def _has_version(odd: Object) -> bool:
    try:
        return isinstance(odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], dict)
    except (KeyError, IndexError, TypeError):
        return False
