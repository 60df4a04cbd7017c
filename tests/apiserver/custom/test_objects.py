from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.custom.conftest import DEFINITIONS, OBJECTS, establish
from tests.apiserver.custom.definitions import GROUP, crontab, definition, eventually, version
from tests.apiserver.rest.conftest import Rest

MERGE = "application/merge-patch+json"


async def test_a_definition_gets_its_names_and_conditions(rest: Rest) -> None:
    found = await establish(rest, definition())
    status = found["status"]
    assert status["storedVersions"] == ["v1"]
    assert status["acceptedNames"] == {
        "plural": "crontabs",
        "singular": "crontab",
        "kind": "CronTab",
        "listKind": "CronTabList",
        "shortNames": ["ct"],
        "categories": ["all"],
    }
    shown = [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]]
    assert shown == [
        ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
    ]


async def test_names_that_are_taken_are_refused_until_they_are_free(rest: Rest) -> None:
    await establish(rest, definition())
    other = definition(names={"plural": "tabs", "kind": "Tab", "shortNames": ["ct"]})
    other["metadata"]["name"] = f"tabs.{GROUP}"
    assert (await rest.ask("POST", DEFINITIONS, other)).status == 201

    async def condition(status: str) -> Any:
        found = (await rest.ask("GET", f"{DEFINITIONS}/tabs.{GROUP}")).json()
        conditions = {c["type"]: c for c in found["status"].get("conditions", ())}
        named = conditions.get("NamesAccepted", {})
        return named.get("status") == status and named

    refused = await eventually(lambda: condition("False"))
    assert (refused["reason"], refused["message"]) == (
        "ShortNamesConflict",
        '"ct" is already in use',
    )
    assert (await rest.ask("DELETE", f"{DEFINITIONS}/crontabs.{GROUP}")).status == 200
    await eventually(lambda: condition("True"))


async def test_an_object_lives_through_all_verbs(cron: Rest) -> None:
    made = await cron.ask("POST", OBJECTS, crontab(image="a", nonsense=1))
    assert made.status == 201
    assert made.json()["spec"] == {"cronSpec": "* * * * */5", "image": "a", "replicas": 1}
    assert made.json()["metadata"]["generation"] == 1
    assert made.headers["warning"] == '299 - "unknown field \\"spec.nonsense\\""'
    one = f"{OBJECTS}/one"
    assert (await cron.ask("GET", one)).json() == made.json()
    listed = (await cron.ask("GET", OBJECTS)).json()
    assert listed["kind"] == "CronTabList"
    assert [item["metadata"]["name"] for item in listed["items"]] == ["one"]
    patched = await cron.ask("PATCH", one, {"spec": {"replicas": 3}}, kind=MERGE)
    assert (patched.status, patched.json()["metadata"]["generation"]) == (200, 2)
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    patched = await cron.ask("PATCH", one, operations, kind="application/json-patch+json")
    assert patched.json()["spec"]["replicas"] == 4
    replaced = await cron.ask("PUT", one, {**patched.json(), "spec": {"cronSpec": "1 1 1 1 1"}})
    assert replaced.json()["spec"] == {"cronSpec": "1 1 1 1 1", "replicas": 1}
    stale = await cron.ask("PUT", one, patched.json())
    assert (stale.status, stale.json()["reason"]) == (409, "Conflict")
    assert (await cron.ask("DELETE", one)).json()["status"] == "Success"
    gone = await cron.ask("GET", one)
    assert gone.json()["message"] == f'crontabs.{GROUP} "one" not found'


async def test_strategic_merge_is_refused(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab())
    kind = "application/strategic-merge-patch+json"
    refused = await cron.ask("PATCH", f"{OBJECTS}/one", {"spec": {}}, kind=kind)
    assert refused.status == 415
    assert refused.json()["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"cronSpec": 5},
            'spec.cronSpec: Invalid value: "integer": spec.cronSpec in body must be of type '
            'string: "integer"',
            id="type",
        ),
        pytest.param(
            {"cronSpec": "x"},
            'spec.cronSpec: Invalid value: "x": spec.cronSpec in body should match '
            r"'^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'",
            id="pattern",
        ),
        pytest.param(
            {"replicas": 11},
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal "
            "to 10",
            id="maximum",
        ),
        pytest.param({"tags": ["a", "b", "a"]}, 'spec.tags[2]: Duplicate value: "a"', id="set"),
        pytest.param({"cronSpec": None}, "spec.cronSpec: Required value", id="null is absent"),
    ],
)
async def test_what_the_schema_forbids_is_refused(
    cron: Rest, spec: dict[str, Any], message: str
) -> None:
    answer = await cron.ask("POST", OBJECTS, crontab(**spec))
    assert answer.status == 422
    assert answer.json()["message"] == f'CronTab.{GROUP} "one" is invalid: {message}'


async def test_unknown_fields_are_refused_where_that_is_wanted(cron: Rest) -> None:
    path = f"{OBJECTS}?fieldValidation=Strict"
    answer = await cron.ask("POST", path, crontab(nonsense=1, extra={"kept": {"deep": [1]}}))
    assert answer.status == 400
    assert answer.json()["message"] == (
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: unknown '
        'field "spec.nonsense"'
    )
    kept = await cron.ask("POST", path, crontab(extra={"kept": {"deep": [1]}}, note=None, port="a"))
    assert kept.json()["spec"]["extra"] == {"kept": {"deep": [1]}}
    assert kept.json()["spec"]["note"] is None


async def test_a_new_default_shows_in_what_was_stored_before(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab())
    changed = version()
    schema = json.loads(json.dumps(changed["schema"]))
    schema["openAPIV3Schema"]["properties"]["spec"]["properties"]["image"]["default"] = "new"
    patch = {"spec": {"versions": [{**changed, "schema": schema}]}}
    await cron.ask("PATCH", f"{DEFINITIONS}/crontabs.{GROUP}", patch, kind=MERGE)

    async def has_default() -> bool:
        found = (await cron.ask("GET", f"{OBJECTS}/one")).json()
        return bool(found["spec"].get("image") == "new")

    await eventually(has_default)


async def test_what_was_valid_before_need_not_be_made_better(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab(replicas=9))
    changed = json.loads(json.dumps(version()))
    spec = changed["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["replicas"]["maximum"] = 5
    patch = {"spec": {"versions": [changed]}}
    await cron.ask("PATCH", f"{DEFINITIONS}/crontabs.{GROUP}", patch, kind=MERGE)

    async def is_strict() -> bool:
        return (await cron.ask("POST", OBJECTS, crontab("two", replicas=6))).status == 422

    await eventually(is_strict)
    good = await cron.ask("PATCH", f"{OBJECTS}/one", {"spec": {"image": "b"}}, kind=MERGE)
    assert (good.status, good.json()["spec"]["replicas"]) == (200, 9)
    bad = await cron.ask("PATCH", f"{OBJECTS}/one", {"spec": {"replicas": 8}}, kind=MERGE)
    assert bad.status == 422


async def test_versions_show_the_same_object(rest: Rest) -> None:
    await establish(rest, definition(version("v1beta1", storage=False), version("v1")))
    await rest.ask("POST", OBJECTS, crontab())
    beta = OBJECTS.replace("/v1/", "/v1beta1/")
    shown = (await rest.ask("GET", f"{beta}/one")).json()
    assert shown["apiVersion"] == f"{GROUP}/v1beta1"
    patched = await rest.ask("PATCH", f"{beta}/one", {"spec": {"replicas": 2}}, kind=MERGE)
    assert patched.json()["apiVersion"] == f"{GROUP}/v1beta1"
    assert (await rest.ask("GET", f"{OBJECTS}/one")).json()["spec"]["replicas"] == 2
    stored = await rest.bench.store.find(f"/registry/{GROUP}/crontabs/default/one")
    assert stored is not None
    assert json.loads(stored.value)["apiVersion"] == f"{GROUP}/v1"
    group = (await rest.ask("GET", f"/apis/{GROUP}")).json()
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1"]


async def test_a_deprecated_version_says_so(rest: Rest) -> None:
    old = version("v1beta1", storage=False, deprecated=True)
    await establish(rest, definition(old, version("v1")))
    answer = await rest.ask("GET", OBJECTS.replace("/v1/", "/v1beta1/"))
    assert answer.headers["warning"] == (
        f'299 - "{GROUP}/v1beta1 CronTab is deprecated; use {GROUP}/v1 CronTab"'
    )


async def test_tables_have_the_columns_of_the_definition(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab(image="a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = (await cron.ask("GET", OBJECTS, accept=accept)).json()
    names = [(c["name"], c["type"], c["priority"]) for c in table["columnDefinitions"]]
    assert names == [
        ("Name", "string", 0),
        ("Spec", "string", 0),
        ("Replicas", "integer", 0),
        ("Image", "string", 1),
        ("Age", "date", 0),
    ]
    assert table["rows"][0]["cells"] == ["one", "* * * * */5", 1, "a", "0s"]


async def test_discovery_and_openapi_follow_at_once(cron: Rest) -> None:
    lists = (await cron.ask("GET", f"/apis/{GROUP}/v1")).json()["resources"]
    assert [(each["name"], each["shortNames"], each["categories"]) for each in lists] == [
        ("crontabs", ["ct"], ["all"])
    ]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = (await cron.ask("GET", "/apis", accept=accept)).json()["items"]
    assert GROUP in [group["metadata"]["name"] for group in groups]
    v3 = (await cron.ask("GET", f"/openapi/v3/apis/{GROUP}/v1")).json()
    schema = v3["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert schema["properties"]["spec"]["properties"]["image"]["description"] == "What to run."
    v2 = (await cron.ask("GET", "/openapi/v2")).json()
    assert "com.example.stable.v1.CronTabList" in v2["definitions"]
    assert (await cron.ask("DELETE", f"{DEFINITIONS}/crontabs.{GROUP}")).status == 200

    async def gone() -> bool:
        return (await cron.ask("GET", f"/apis/{GROUP}")).status == 404

    await eventually(gone)
    assert (await cron.ask("GET", OBJECTS)).status == 404
    assert (await cron.ask("GET", f"/openapi/v3/apis/{GROUP}/v1")).status == 404


async def test_instances_go_with_their_definition_after_their_finalizers(cron: Rest) -> None:
    held = crontab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await cron.ask("POST", OBJECTS, held)
    await cron.ask("POST", OBJECTS, crontab("free"))
    path = f"{DEFINITIONS}/crontabs.{GROUP}"
    begun = (await cron.ask("DELETE", path)).json()
    assert begun["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]

    async def one_is_left() -> bool:
        return len((await cron.ask("GET", OBJECTS)).json()["items"]) == 1

    await eventually(one_is_left)
    refused = await cron.ask("POST", OBJECTS, crontab("late"))
    assert (refused.status, refused.json()["message"]) == (
        405,
        "create not allowed while custom resource definition is terminating",
    )
    patch = {"metadata": {"finalizers": None}}
    await cron.ask("PATCH", f"{OBJECTS}/held", patch, kind=MERGE)

    async def gone() -> bool:
        return (await cron.ask("GET", path)).status == 404

    await eventually(gone)
    # The same again begins with nothing.
    await establish(cron, definition())
    assert (await cron.ask("GET", OBJECTS)).json()["items"] == []


async def test_a_watch_sees_objects_and_ends_with_the_definition(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab("before"))
    async with cron.asking("GET", f"{OBJECTS}?watch=1") as (answer, parts):
        assert answer.status == 200
        first = json.loads(await anext(parts))
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "before")
        await cron.ask("DELETE", f"{DEFINITIONS}/crontabs.{GROUP}")
        rest_of_it = b"".join([part async for part in parts])
        assert json.loads(rest_of_it.splitlines()[0])["type"] == "DELETED"


async def test_rules_hold_on_create_and_on_change(rest: Rest) -> None:
    ruled = json.loads(json.dumps(version(subresources={"status": {}})))
    spec = ruled["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [
        {"rule": "self.replicas < 5 || has(self.image)", "message": "many need an image"},
        {"rule": "self.cronSpec == oldSelf.cronSpec", "message": "cronSpec is immutable"},
    ]
    await establish(rest, definition(ruled))
    refused = await rest.ask("POST", OBJECTS, crontab(replicas=6))
    assert refused.json()["message"] == (
        f'CronTab.{GROUP} "one" is invalid: spec: Invalid value: many need an image'
    )
    assert (await rest.ask("POST", OBJECTS, crontab(replicas=4))).status == 201
    patch = {"spec": {"cronSpec": "1 1 1 1 1"}}
    changed = await rest.ask("PATCH", f"{OBJECTS}/one", patch, kind=MERGE)
    assert changed.json()["message"] == (
        f'CronTab.{GROUP} "one" is invalid: spec: Invalid value: cronSpec is immutable'
    )


async def test_a_rule_that_cannot_be_is_refused_with_the_definition(rest: Rest) -> None:
    ruled = json.loads(json.dumps(version()))
    spec = ruled["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": "self.replica > 1"}]
    refused = await rest.ask("POST", DEFINITIONS, definition(ruled))
    assert refused.status == 422
    assert "undefined field 'replica'" in refused.json()["message"]
