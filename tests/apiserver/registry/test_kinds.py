"""Every kind of the tables, from its creation to its end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apiserver.registry.call import DeleteOptions, WriteOptions
from apiserver.registry.resources import TABLE
from apiserver.registry.table import table
from apiserver.rest.discovery import Discovery
from kubraft.api.errors import InvalidError, NotFoundError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from tests.apiserver.harness import NOW, Bench, copy
from tests.apiserver.registry.kind_cases import CASES as SOME_CASES
from tests.apiserver.registry.kind_cases import ONCE, Case, thing
from tests.apiserver.registry.more_kind_cases import MORE_CASES
from tests.apiserver.registry.refusals import refusals

CASES = (*SOME_CASES, *MORE_CASES)

EACH = [pytest.param(case, id=f"{case.gvk.kind}.{case.gvk.api_version}") for case in CASES]


def at(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, list) else (value or {}).get(name)
    return value


def placed(case: Case) -> Object:
    obj = copy(case.obj)
    if case.namespaced:
        obj["metadata"]["namespace"] = "default"
    return obj


@pytest.mark.parametrize("case", EACH)
async def test_a_minimal_object_is_filled_in_and_prints_as_upstream(
    bench: Bench, case: Case
) -> None:
    made = await bench.create(placed(case))
    assert {path: at(made, path) for path in case.defaults} == case.defaults
    resource = bench.registry.resources[case.gvk]
    shown = table(resource, [made], NOW, {})
    assert " ".join(c["name"] for c in shown["columnDefinitions"]) == case.columns
    cells = shown["rows"][0]["cells"]
    assert len(cells) == len(case.row)
    assert all(want in (..., got) for want, got in zip(case.row, cells, strict=True)), cells


@pytest.mark.parametrize("case", EACH)
async def test_an_object_is_updated_and_deleted(bench: Bench, case: Case) -> None:
    made = await bench.create(placed(case))
    again = await bench.update(made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    labelled = merge_patch(made, {"metadata": {"labels": {"seen": "yes"}}})
    made = await bench.update(labelled)
    if case.status is not None:
        made["status"] = case.status
        made = await bench.update(made, "status")
        assert made["status"].items() >= case.status.items()
        # Only through its own subresource.
        kept = await bench.update({**made, "status": {}})
        assert kept["status"] == made["status"]
    call = bench.call(case.gvk, made["metadata"]["name"])
    assert (await bench.registry.delete(call, DeleteOptions())).gone
    with pytest.raises(NotFoundError):
        await bench.get(case.gvk, made["metadata"]["name"])


@pytest.mark.parametrize("case", EACH)
def test_discovery_tells_of_a_kind(case: Case) -> None:
    group = case.gvk.group
    path = f"/apis/{group}/{case.gvk.version}" if group else f"/api/{case.gvk.version}"
    found = Discovery(TABLE, "").find(path, "application/json")
    assert found is not None

    rows = {row["name"]: row for row in orjson.loads(found.raw)["resources"]}
    row = rows[case.plural]
    assert (row["kind"], row["namespaced"]) == (case.gvk.kind, case.namespaced)
    assert tuple(row.get("shortNames", ())) == case.short
    assert (f"{case.plural}/status" in rows) == (case.status is not None)


def test_every_kind_of_the_tables_has_a_case() -> None:
    from apiserver.registry.kinds.rows import ROWS

    assert {row.gvk for row in ROWS} == {case.gvk for case in CASES}


def changed(kind: str, change: Object) -> Object:
    """The minimal object of a kind, with a merge patch applied."""
    case = next(c for c in CASES if c.gvk.kind == kind)
    made: Object = merge_patch(placed(case), change)
    return made


@pytest.mark.parametrize(("kind", "change", "message"), refusals("refused.txt"))
async def test_what_breaks_a_rule_is_refused_in_upstreams_words(
    bench: Bench, kind: str, change: Object, message: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        await bench.create(changed(kind, change))
    assert caught.value.message.partition(" is invalid: ")[2] == message


@pytest.mark.parametrize(("kind", "change", "message"), refusals("fixed.txt"))
async def test_what_may_not_change_does_not(
    bench: Bench, kind: str, change: Object, message: str
) -> None:
    made = await bench.create(changed(kind, {}))
    with pytest.raises(InvalidError) as caught:
        await bench.update(merge_patch(made, change))
    assert caught.value.message.partition(" is invalid: ")[2] == message


@pytest.mark.parametrize(
    ("obj", "creates"),
    [
        pytest.param(thing("coordination.k8s.io/v1", "Lease", spec={}), True, id="Lease"),
        pytest.param(thing("v1", "Endpoints"), True, id="Endpoints"),
        pytest.param(thing("v1", "LimitRange", spec={"limits": []}), True, id="LimitRange"),
        pytest.param(thing("v1", "ConfigMap"), False, id="ConfigMap"),
        pytest.param(thing("batch/v1", "Job", spec={"template": ONCE}), False, id="Job"),
    ],
)
async def test_a_put_creates_objects_of_some_kinds(
    bench: Bench, obj: Object, creates: bool
) -> None:
    call = bench.call(gvk_of(obj), "x", "default")
    obj = merge_patch(obj, {"metadata": {"namespace": "default"}})
    if not creates:
        with pytest.raises(NotFoundError):
            await bench.registry.update(call, copy(obj), WriteOptions())
        return
    written = await bench.registry.update(call, copy(obj), WriteOptions())
    assert written.created
    again = await bench.registry.update(call, copy(obj), WriteOptions())
    assert not again.created
