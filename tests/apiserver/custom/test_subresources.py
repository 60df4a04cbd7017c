from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.custom.conftest import OBJECTS, establish
from tests.apiserver.custom.definitions import crontab, definition, version
from tests.apiserver.rest.conftest import Rest

MERGE = "application/merge-patch+json"
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.labelSelector",
}


@pytest.fixture
async def scaled(rest: Rest) -> Rest:
    """A server with CronTabs whose status and scale are written by themselves."""
    fields = [{"jsonPath": ".spec.image"}, {"jsonPath": ".spec.replicas"}]
    own = version(subresources={"status": {}, "scale": SCALE}, selectableFields=fields)
    await establish(rest, definition(own))
    return rest


async def test_status_is_written_by_itself(scaled: Rest) -> None:
    made = crontab()
    made["status"] = {"phase": "Good"}
    created = (await scaled.ask("POST", OBJECTS, made)).json()
    assert "status" not in created
    one = f"{OBJECTS}/one"
    patch = {
        "status": {"phase": "Good"},
        "spec": {"replicas": 9},
        "metadata": {"labels": {"a": "b"}},
    }
    written = (await scaled.ask("PATCH", f"{one}/status", patch, kind=MERGE)).json()
    assert written["status"] == {"phase": "Good"}
    assert written["spec"]["replicas"] == 1
    assert "labels" not in written["metadata"]
    assert written["metadata"]["generation"] == 1
    kept = (
        await scaled.ask("PATCH", one, {"status": None, "spec": {"image": "a"}}, kind=MERGE)
    ).json()
    assert (kept["status"], kept["metadata"]["generation"]) == ({"phase": "Good"}, 2)
    wrong = await scaled.ask("PATCH", f"{one}/status", {"status": {"phase": "Odd"}}, kind=MERGE)
    assert wrong.status == 422
    assert (
        'status.phase: Unsupported value: "Odd": supported values: "Good", "Bad"'
        in (wrong.json()["message"])
    )


async def test_scale_reads_and_writes_where_the_definition_says(scaled: Rest) -> None:
    await scaled.ask("POST", OBJECTS, crontab(replicas=2))
    status = {"status": {"replicas": 1, "labelSelector": "app=x"}}
    await scaled.ask("PATCH", f"{OBJECTS}/one/status", status, kind=MERGE)
    scale = (await scaled.ask("GET", f"{OBJECTS}/one/scale")).json()
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 2},
        {"replicas": 1, "selector": "app=x"},
    )
    changed = await scaled.ask(
        "PATCH", f"{OBJECTS}/one/scale", {"spec": {"replicas": 5}}, kind=MERGE
    )
    assert changed.json()["spec"] == {"replicas": 5}
    found = (await scaled.ask("GET", f"{OBJECTS}/one")).json()
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)
    bad = await scaled.ask("PATCH", f"{OBJECTS}/one/scale", {"spec": {"replicas": 11}}, kind=MERGE)
    assert bad.status == 422


async def test_without_subresources_there_are_none(cron: Rest) -> None:
    await cron.ask("POST", OBJECTS, crontab())
    for name in ("status", "scale"):
        assert (await cron.ask("GET", f"{OBJECTS}/one/{name}")).status == 404


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.image=a", ["one"]),
        ("spec.image!=a", ["two"]),
        ("spec.replicas=3,spec.image=b", ["two"]),
        ("metadata.name=one", ["one"]),
    ],
)
async def test_fields_select(scaled: Rest, selector: str, names: list[str]) -> None:
    await scaled.ask("POST", OBJECTS, crontab("one", image="a"))
    await scaled.ask("POST", OBJECTS, crontab("two", image="b", replicas=3))
    found = (await scaled.ask("GET", f"{OBJECTS}?fieldSelector={selector}")).json()
    assert [item["metadata"]["name"] for item in found["items"]] == names


async def test_other_fields_do_not_select(scaled: Rest) -> None:
    refused: Any = (await scaled.ask("GET", f"{OBJECTS}?fieldSelector=spec.note=a")).json()
    assert refused["message"] == 'field label not supported: "spec.note"'
