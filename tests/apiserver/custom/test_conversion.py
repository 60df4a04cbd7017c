"""Versions that a webhook converts, over real HTTPS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.admission.hooks_server import HookServer, serving
from tests.apiserver.custom.conftest import OBJECTS, establish
from tests.apiserver.custom.definitions import GROUP, crontab, definition, version
from tests.apiserver.rest.conftest import Rest

NEW = OBJECTS.replace("/v1/", "/v2/")
MERGE = "application/merge-patch+json"


def second_version() -> dict[str, Any]:
    """Names the same field `schedule`, and has one of its own."""
    text = {"type": "string"}
    spec = {"type": "object", "properties": {"schedule": text, "zone": {**text, "default": "UTC"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return version("v2", storage=False, schema=schema, additionalPrinterColumns=[])


def converted(request: dict[str, Any]) -> dict[str, Any]:
    wanted, made = request["desiredAPIVersion"], []
    before, after = "cronSpec", "schedule"
    if wanted.endswith("/v1"):
        before, after = after, before
    for obj in request["objects"]:
        spec = {after: obj["spec"][before]}
        made.append({**obj, "apiVersion": wanted, "spec": spec})
    return {"convertedObjects": made, "result": {"status": "Success"}}


@pytest.fixture
async def hooks(pki: Path) -> AsyncIterator[HookServer]:
    async with serving(pki) as server:
        server.answers["/convert"] = converted
        yield server


@pytest.fixture
async def versions(rest: Rest, hooks: HookServer) -> Rest:
    url = f"https://127.0.0.1:{hooks.port}/convert"
    webhook = {
        "clientConfig": {"url": url, "caBundle": hooks.bundle},
        "conversionReviewVersions": ["v1"],
    }
    conversion = {"strategy": "Webhook", "webhook": webhook}
    await establish(rest, definition(version("v1"), second_version(), conversion=conversion))
    return rest


async def test_each_version_has_its_own_form(versions: Rest, hooks: HookServer) -> None:
    await versions.ask("POST", OBJECTS, crontab())
    shown = (await versions.ask("GET", f"{NEW}/one")).json()
    assert shown["apiVersion"] == f"{GROUP}/v2"
    assert shown["spec"] == {"schedule": "* * * * */5", "zone": "UTC"}
    patch = {"spec": {"schedule": "1 1 1 1 1"}}
    changed = await versions.ask("PATCH", f"{NEW}/one", patch, kind=MERGE)
    assert changed.json()["spec"]["schedule"] == "1 1 1 1 1"
    stored = await versions.bench.store.find(f"/registry/{GROUP}/crontabs/default/one")
    assert stored is not None
    kept = json.loads(stored.value)
    assert (kept["apiVersion"], kept["spec"]["cronSpec"]) == (f"{GROUP}/v1", "1 1 1 1 1")
    asked = len(hooks.asked)
    assert (await versions.ask("GET", f"{OBJECTS}/one")).json()["spec"]["cronSpec"] == "1 1 1 1 1"
    assert len(hooks.asked) == asked  # what has the version already needs no webhook


async def test_lists_and_watches_are_converted(versions: Rest, hooks: HookServer) -> None:
    for name in ("a", "b", "c"):
        await versions.ask("POST", OBJECTS, crontab(name))
    hooks.asked.clear()
    listed = (await versions.ask("GET", NEW)).json()
    assert [item["spec"]["schedule"] for item in listed["items"]] == ["* * * * */5"] * 3
    assert len(hooks.asked) == 1
    async with versions.asking("GET", f"{NEW}?watch=1&timeoutSeconds=2") as (_, parts):
        lines = b"".join([part async for part in parts]).splitlines()
    assert [json.loads(line)["object"]["apiVersion"] for line in lines] == [f"{GROUP}/v2"] * 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(
            {"result": {"status": "Failure", "message": "no way"}}, "failed: no way", id="refused"
        ),
        pytest.param(
            {"result": {"status": "Success"}, "convertedObjects": []},
            "returned 0 objects, expected 1",
            id="too few",
        ),
        pytest.param(b"nonsense", "failed: ", id="no JSON"),
        pytest.param({"uid": "other"}, "expected response.uid=", id="another question's"),
    ],
)
async def test_a_webhook_that_fails_is_named(
    versions: Rest, hooks: HookServer, answer: Any, message: str
) -> None:
    await versions.ask("POST", OBJECTS, crontab())
    hooks.answers["/convert"] = lambda _: answer
    failed = await versions.ask("GET", f"{NEW}/one")
    assert failed.status == 500
    said = failed.json()["message"]
    assert said.startswith(f"conversion webhook for {GROUP}/v1, Kind=CronTab ")
    assert message in said
    assert (await versions.ask("GET", f"{OBJECTS}/one")).status == 200


async def test_a_webhook_may_not_rename(versions: Rest, hooks: HookServer) -> None:
    await versions.ask("POST", OBJECTS, crontab())

    def renamed(request: dict[str, Any]) -> dict[str, Any]:
        made = converted(request)
        for obj in made["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "name": "two"}
        return made

    hooks.answers["/convert"] = renamed
    failed = await versions.ask("GET", f"{NEW}/one")
    assert "must have the same name: one != two" in failed.json()["message"]
