"""What is refused of a definition, in upstream's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apiserver.registry.custom.definition import DefinitionStrategy
from kubraft.api.object import Object
from tests.apiserver.custom.conftest import DEFINITIONS
from tests.apiserver.custom.definitions import GROUP, definition, version
from tests.apiserver.rest.conftest import Rest

TEXT = {"type": "string"}
SCHEMA = "spec.versions[0].schema.openAPIV3Schema"


def prepared(made: Object) -> Object:
    obj: Object = json.loads(json.dumps(made))
    strategy = DefinitionStrategy()
    strategy.default(obj)
    strategy.prepare_for_create(obj)
    return obj


def wrong(made: Object) -> list[str]:
    return [str(cause) for cause in DefinitionStrategy().validate(prepared(made))]


def with_schema(schema: Any, **fields: Any) -> Object:
    return definition(version(schema={"openAPIV3Schema": schema}, **fields))


def with_spec(**spec: Any) -> Object:
    return with_schema({"type": "object", "properties": {"spec": {"type": "object", **spec}}})


def named(**names: Any) -> Object:
    return definition(names={"plural": "crontabs", "kind": "CronTab", **names})


def renamed(name: str, **spec: Any) -> Object:
    made = definition(**spec)
    made["metadata"]["name"] = name
    return made


def test_a_good_one_is_fine() -> None:
    assert wrong(definition()) == []


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(
            renamed("other.example.com"),
            'metadata.name: Invalid value: "other.example.com": must be '
            'spec.names.plural+"."+spec.group',
            id="name",
        ),
        pytest.param(
            renamed("crontabs.apps", group="apps"),
            'spec.group: Invalid value: "apps": should be a domain with at least one dot',
            id="group of built-in kinds",
        ),
        pytest.param(
            renamed("crontabs.batch.k8s.io", group="batch.k8s.io"),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups "
            'must have approval annotation "api-approved.kubernetes.io", see '
            "https://github.com/kubernetes/enhancements/pull/1111",
            id="protected group",
        ),
        pytest.param(
            definition(scope="Everywhere"),
            'spec.scope: Unsupported value: "Everywhere": supported values: "Cluster", '
            '"Namespaced"',
            id="scope",
        ),
        pytest.param(
            named(listKind="CronTab"),
            'spec.names.listKind: Invalid value: "CronTab": kind and listKind may not be the same',
            id="listKind",
        ),
        pytest.param(
            definition(version(schema={})),
            f"{SCHEMA}: Required value",
            id="no schema",
        ),
        pytest.param(
            with_schema({"type": "string"}),
            f'{SCHEMA}.type: Invalid value: "string": must be object at the root',
            id="root is no object",
        ),
        pytest.param(
            with_schema({"type": "object", "properties": {"spec": {}}}),
            f"{SCHEMA}.properties[spec].type: Required value: must not be empty for specified "
            "object fields",
            id="no type",
        ),
        pytest.param(
            with_spec(properties={"a": {"type": "array"}}),
            f"{SCHEMA}.properties[spec].properties[a].items: Required value: must be specified",
            id="no items",
        ),
        pytest.param(
            with_schema({"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]}),
            f"{SCHEMA}.properties[a]: Required value: because it is defined in "
            f"{SCHEMA}.anyOf[0].properties[a]",
            id="not complete",
        ),
        pytest.param(
            with_spec(allOf=[{"type": "object"}]),
            f"{SCHEMA}.properties[spec].allOf[0].type: Forbidden: must be empty to be structural",
            id="type below a junctor",
        ),
        pytest.param(
            with_spec(properties={"a": {"type": "string", "pattern": "(?=x)"}}),
            f'{SCHEMA}.properties[spec].properties[a].pattern: Invalid value: "(?=x)": must be a '
            "valid regular expression, but isn't: error parsing regexp: invalid perl operator: (?=",
            id="pattern",
        ),
        pytest.param(
            with_spec(properties={"a": {"type": "integer", "default": "x"}}),
            f'{SCHEMA}.properties[spec].properties[a].default: Invalid value: "string": '
            f"{SCHEMA}.properties[spec].properties[a].default in body must be of type integer: "
            '"string"',
            id="default",
        ),
        pytest.param(
            with_spec(properties={"a": {"type": "object", "uniqueItems": True}}),
            f"{SCHEMA}.properties[spec].properties[a].uniqueItems: Forbidden: uniqueItems cannot "
            "be set to true since the runtime complexity becomes quadratic",
            id="uniqueItems",
        ),
        pytest.param(
            with_spec(additionalProperties=TEXT, properties={"a": TEXT}),
            f"{SCHEMA}.properties[spec].additionalProperties: Forbidden: additionalProperties and "
            "properties are mutual exclusive",
            id="additionalProperties beside properties",
        ),
        pytest.param(
            with_schema(
                {"type": "object", "properties": {"metadata": {"type": "object", "properties": {
                    "labels": {"type": "object"}}}}}
            ),
            f"{SCHEMA}.properties[metadata]: Forbidden: must not specify anything other than name "
            "and generateName, but metadata is implicitly specified",
            id="metadata",
        ),
        pytest.param(
            with_spec(
                properties={
                    "a": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["k"],
                        "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                    }
                }
            ),
            f"{SCHEMA}.properties[spec].properties[a].items.properties[k].default: Required value: "
            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
            "required property",
            id="key of a map",
        ),
        pytest.param(
            definition(version(additionalPrinterColumns=[{"name": "A", "type": "text",
                                                          "jsonPath": ".a"}])),
            'spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": must be one '
            "of boolean,date,integer,number,string",
            id="column",
        ),
        pytest.param(
            definition(version(subresources={"scale": {"specReplicasPath": ".status.x",
                                                       "statusReplicasPath": ".status.y"}})),
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: "
            '".status.x": should be a json path under .spec',
            id="scale",
        ),
        pytest.param(
            definition(version(selectableFields=[{"jsonPath": ".spec.tags"}])),
            'spec.versions[0].selectableFields[0].jsonPath: Invalid value: ".spec.tags": must '
            "point to a field of type string, boolean or integer. Enum string fields and strings "
            "with formats are allowed.",
            id="selectable field",
        ),
        pytest.param(
            definition(conversion={"strategy": "Webhook"}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set "
            "to Webhook",
            id="conversion",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(made: Object, expected: str) -> None:
    assert expected in wrong(made)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([version("v1"), version("v2")], "exactly one version marked as storage version"),
        ([version("v1"), version("v1", storage=False)], "must contain unique version names"),
    ],
)
def test_versions(versions: list[Any], expected: str) -> None:
    assert any(expected in cause for cause in wrong(definition(*versions)))


async def test_a_version_that_may_be_stored_must_stay(rest: Rest) -> None:
    await rest.ask("POST", DEFINITIONS, definition())
    path = f"{DEFINITIONS}/crontabs.{GROUP}"
    refused = await rest.ask(
        "PATCH", path, {"spec": {"versions": [version("v2")]}}, kind="application/merge-patch+json"
    )
    assert refused.status == 422
    assert (
        "v1 was previously a storage version, and must remain in spec.versions"
        in (refused.json()["message"])
    )


async def test_a_definition_does_not_hide_a_built_in_kind(rest: Rest) -> None:
    names = {"plural": "leases", "kind": "Lease"}
    made = definition(names=names, group="coordination.k8s.io")
    made["metadata"] = {
        "name": "leases.coordination.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
    }
    assert (await rest.ask("POST", DEFINITIONS, made)).status == 201
    lease = {"kind": "Lease", "metadata": {"name": "x"}, "spec": {"holderIdentity": "me"}}
    lease["apiVersion"] = "coordination.k8s.io/v1"
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    made_lease = (await rest.ask("POST", path, lease)).json()
    assert made_lease["spec"] == {"holderIdentity": "me"}
    deleted = await rest.ask("DELETE", f"{DEFINITIONS}/leases.coordination.k8s.io")
    assert deleted.status == 200
    assert (await rest.ask("GET", f"{path}/x")).status == 200


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "object", "properties": {"a": 5}}, id="a schema is no object"),
        pytest.param({"type": 5}, id="a type is no text"),
        pytest.param("x", id="no object"),
        pytest.param({"type": "object", "required": "a"}, id="a list is none"),
        pytest.param({"type": "object", "properties": {"a": {"items": 5}}}, id="items are none"),
        pytest.param({"additionalProperties": {"properties": 5}}, id="deep below additional"),
    ],
)
async def test_nonsense_is_refused_and_not_an_error_of_ours(rest: Rest, schema: Any) -> None:
    answer = await rest.ask("POST", DEFINITIONS, with_schema(schema))
    assert answer.status in (400, 422), answer.body
