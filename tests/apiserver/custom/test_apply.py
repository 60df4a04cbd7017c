"""Server-side apply of custom objects: by their schema, or without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.custom.conftest import OBJECTS, establish
from tests.apiserver.custom.definitions import definition, version
from tests.apiserver.rest.conftest import Answer, Rest

APPLY = "application/apply-patch+yaml"


def cron_tab(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": "one"},
        "spec": spec,
    }


async def apply(rest: Rest, body: Any, manager: str, query: str = "") -> Answer:
    url = f"{OBJECTS}/one?fieldManager={manager}{query}"
    return await rest.ask("PATCH", url, body, kind=APPLY)


def fields_by(obj: Any, manager: str) -> Any:
    return next(e for e in obj["metadata"]["managedFields"] if e["manager"] == manager)["fieldsV1"]


async def test_sets_merge_and_preserved_fields_are_told_apart(cron: Rest) -> None:
    one = cron_tab(cronSpec="* * * * *", tags=["a"], extra={"x": {"y": [1]}})
    made = await apply(cron, one, "one")
    assert made.status == 201, made.body
    assert fields_by(made.json(), "one") == {
        "f:spec": {
            "f:cronSpec": {},
            "f:extra": {"f:x": {".": {}, "f:y": {}}},
            "f:tags": {'v:"a"': {}},
        }
    }
    obj = (await apply(cron, cron_tab(tags=["b"], extra={"z": 1}), "two")).json()
    assert obj["spec"]["tags"] == ["a", "b"]
    assert obj["spec"]["extra"] == {"x": {"y": [1]}, "z": 1}
    assert obj["spec"]["replicas"] == 1  # a default, which nobody manages
    refused = await apply(cron, cron_tab(extra={"x": {"y": [2]}}), "two")
    assert refused.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "one": .spec.extra.x.y'
    )
    less = (await apply(cron, cron_tab(cronSpec="* * * * *"), "one")).json()
    assert (less["spec"]["tags"], less["spec"]["extra"]) == (["b"], {"z": 1})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"nothing": 1}, ".spec.nothing: field not declared in schema"),
        ({"tags": ["a", "a"]}, '.spec.tags: duplicate entries for key [="a"]'),
        ({"replicas": "1"}, ".spec.replicas: expected numeric (int or float), got string"),
    ],
)
async def test_the_schema_decides_what_can_be_applied(
    cron: Rest, spec: dict[str, Any], message: str
) -> None:
    refused = await apply(cron, cron_tab(**spec), "one")
    assert refused.status == 500
    named = "default/one; stable.example.com/v1, Kind=CronTab"
    told = f"failed to create typed patch object ({named}): {message}"
    assert refused.json()["message"] == told


async def test_a_status_is_applied_by_itself(rest: Rest) -> None:
    await establish(rest, definition(version(subresources={"status": {}})))
    await apply(rest, cron_tab(cronSpec="* * * * *"), "one")
    body = cron_tab() | {"status": {"phase": "Good"}}
    url = f"{OBJECTS}/one/status?fieldManager=operator"
    obj = (await rest.ask("PATCH", url, body, kind=APPLY)).json()
    assert obj["status"] == {"phase": "Good"}
    assert fields_by(obj, "operator") == {"f:status": {"f:phase": {}}}


async def test_updates_are_noted(cron: Rest) -> None:
    await cron.ask("POST", f"{OBJECTS}?fieldManager=maker", cron_tab(cronSpec="* * * * *"))
    edit = {"spec": {"image": "x"}}
    kind = "application/merge-patch+json"
    obj = (await cron.ask("PATCH", f"{OBJECTS}/one?fieldManager=two", edit, kind=kind)).json()
    assert fields_by(obj, "two") == {"f:spec": {"f:image": {}}}
    assert "f:cronSpec" in fields_by(obj, "maker")["f:spec"]


async def test_a_scale_has_the_managers_of_the_replicas(rest: Rest) -> None:
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    await establish(rest, definition(version(subresources={"scale": scale})))
    await apply(rest, cron_tab(cronSpec="* * * * *", replicas=1), "one")
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "one"},
        "spec": {"replicas": 3},
    }
    url = f"{OBJECTS}/one/scale?fieldManager=scaler"
    refused = await rest.ask("PATCH", url, body, kind=APPLY)
    assert refused.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    )
    taken = await rest.ask("PATCH", f"{url}&force=true", body, kind=APPLY)
    assert taken.json()["spec"] == {"replicas": 3}, taken.body
    obj = (await rest.ask("GET", f"{OBJECTS}/one")).json()
    assert fields_by(obj, "scaler") == {"f:spec": {"f:replicas": {}}}
    assert fields_by(obj, "one") == {"f:spec": {"f:cronSpec": {}}}
