"""Fields that a kind does not have, and fields given twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tests.apiserver.conformance.cluster import PATCHES, Answer, Cluster
from tests.apiserver.conformance.definitions import (
    ANYTHING,
    EMBEDDED,
    SPEC,
    Custom,
    custom,
    define,
    of_spec,
    version,
)
from tests.apiserver.conformance.held import conforms
from tests.apiserver.registry.kind_cases import SELECTOR, TEMPLATE

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF = "[sig-api-machinery] FieldValidation should "
STRICT = "fieldManager=field_validation_mgr&fieldValidation=Strict"
GOOD: dict[str, Any] = {
    "cronSpec": "* * * * */5",
    "ports": [{"name": "x", "containerPort": 80, "protocol": "TCP"}],
}


async def _refusal_of_deployment(cluster: Cluster, metadata: str, spec: str) -> str:
    path = f"{await cluster.namespace()}/deployments".replace("/api/v1", "/apis/apps/v1")
    selector = str(SELECTOR).replace("'", '"')
    template = str(TEMPLATE).replace("'", '"')
    body = (
        '{"apiVersion":"apps/v1","kind":"Deployment",'
        f'"metadata":{{"name":"my-dep"{metadata}}},'
        f'"spec":{{{spec}"selector":{selector},"template":{template}}}}}'
    )
    return await cluster.refused(400, "POST", f"{path}?{STRICT}", body.encode())


@conforms(
    f"{OF}detect unknown and duplicate fields of a typed object",
    f"{OF}detect unknown metadata fields of a typed object",
)
@pytest.mark.parametrize(
    ("metadata", "spec", "said"),
    [
        pytest.param(
            "",
            '"unknownField":"foo","replicas":2,"replicas":3,',
            'unknown field "spec.unknownField", duplicate field "spec.replicas"',
            id="of spec",
        ),
        pytest.param(
            ',"unknownMeta":"foo"', "", 'unknown field "metadata.unknownMeta"', id="of metadata"
        ),
    ],
)
async def test_a_built_in_kind(cluster: Cluster, metadata: str, spec: str, said: str) -> None:
    message = await _refusal_of_deployment(cluster, metadata, spec)
    assert f"strict decoding error: {said}" in message


async def _apply(cluster: Cluster, made: Custom, body: bytes) -> Answer:
    path = f"{made.path()}/mytest?{STRICT}"
    return await cluster.ask("PATCH", path, body, kind=PATCHES["apply"])


def _spec(**fields: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    spec["properties"].update(fields.pop("properties", {}))
    return of_spec({**spec, **fields})


@conforms(
    f"{OF}create/apply a valid CR for CRD with validation schema",
    f"{OF}create/apply a CR with unknown fields for CRD with no validation schema",
    f"{OF}create/apply an invalid CR with extra properties for CRD with validation schema",
    f"{OF}detect unknown metadata fields in both the root and embedded object of a CR",
)
@pytest.mark.parametrize(
    ("schema", "fields", "status", "said"),
    [
        pytest.param(_spec(), {"spec": {"foo": "foo1", **GOOD}}, 201, "", id="valid"),
        pytest.param(ANYTHING, {"spec": {"unknown": "uk1", **GOOD}}, 201, "", id="no schema"),
        pytest.param(
            _spec(),
            {"unknownField": "unknown", "spec": GOOD},
            500,
            ".unknownField: field not declared in schema",
            id="a field too much",
        ),
        pytest.param(
            _spec(**{
                "x-kubernetes-preserve-unknown-fields": True, "properties": {"template": EMBEDDED},
            }),
            {
                "unknown": {},
                "spec": {"template": {
                    "apiVersion": "foo/v1", "kind": "Sub",
                    "metadata": {"unknownSubMeta": "unknown", "name": "subobject"},
                }, **GOOD},
            },
            500,
            ": field not declared in schema",
            id="of metadata",
        ),
    ],
)  # fmt: skip
async def test_a_custom_kind(
    cluster: Cluster, schema: Any, fields: dict[str, Any], status: int, said: str
) -> None:
    made = await define(cluster, custom(cluster), version(schema=schema))
    obj = made.make("mytest", **fields)
    if "unknown" in fields:
        obj["metadata"]["unknownMeta"] = obj.pop("unknown") or "unknown"
    answer = await _apply(cluster, made, yaml.safe_dump(obj).encode())
    assert answer.status == status, answer.body
    assert said in answer.body.decode()


@conforms(f"{OF}detect duplicates in a CR when preserving unknown fields")
async def test_a_field_given_twice(cluster: Cluster) -> None:
    schema = _spec(**{"x-kubernetes-preserve-unknown-fields": True})
    made = await define(cluster, custom(cluster), version(schema=schema))
    obj = made.make("mytest", spec=GOOD)
    lines = yaml.safe_dump(obj, sort_keys=False).splitlines()
    lines += ["  foo: foo1", "  foo: foo2"]
    answer = await _apply(cluster, made, "\n".join(lines).encode())
    assert answer.status == 400, answer.body
    assert f'line {len(lines)}: key \\"foo\\" already set in map' in answer.body.decode()
