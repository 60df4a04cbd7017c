"""FlowSchemas whose priority level is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from apiserver.flow.status import with_condition
from tests.apiserver.in_process import Served, serving

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


def schema(level: str) -> dict[str, Any]:
    subjects = [{"kind": "Group", "group": {"name": "team"}}]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": "of-team"},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": 500,
            "rules": [{"subjects": subjects, "resourceRules": [everything]}],
        },
    }


def test_a_condition_that_is_right_is_left_alone() -> None:
    told = with_condition(schema("low"), {"low"}, "2026-01-01T00:00:00Z")
    assert told is not None
    (condition,) = told["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Found")
    assert with_condition(told, {"low"}, "later") is None
    gone = with_condition(told, set(), "later")
    assert gone is not None
    (condition,) = gone["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "NotFound")
    assert condition["message"].endswith('named "low" but there is no such object')


async def test_schemas_say_whether_their_level_is_there(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        await _until(served, "global-default", "False")
        await served.create(f"{FLOW}/flowschemas", schema("nowhere"))
        await _until(served, "of-team", "True")


async def _until(served: Served, name: str, wanted: str) -> None:
    async with asyncio.timeout(60):
        while True:
            found = (await served.ask("GET", f"{FLOW}/flowschemas/{name}")).json()
            conditions = (found.get("status") or {}).get("conditions") or []
            if [one["status"] for one in conditions if one["type"] == "Dangling"] == [wanted]:
                return
            await asyncio.sleep(0.02)
