"""Who manages what after updates and applies, whatever they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.apply import fields as sets
from apiserver.apply.conflict import ConflictsError
from apiserver.apply.managers import (
    ANCIENT,
    APPLY,
    UPDATE,
    UPDATE_MANAGERS_MAX,
    Identity,
    MalformedError,
    Managers,
    Share,
    capped,
    read,
    written,
)
from apiserver.apply.updater import Applied, applied, created, updated
from apiserver.apply.validation import MistypedError
from apiserver.apply.walk import compare_new, fields_of
from tests.apiserver.apply.schema import CONFIGS, KIND, write

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def apply(
    state: Applied, manager: str, config: Any, *, force: bool = False, at: str = T0
) -> Applied:
    return applied(write(manager, at), state.obj, config, state.managers, force=force)


def update(state: Applied, manager: str, obj: Any, at: str = T0) -> Applied:
    if not state.managers and not state.obj:
        return Applied(obj, created(write(manager, at), obj))
    return Applied(obj, updated(write(manager, at), state.obj, obj, state.managers))


def fields_by(state: Applied, manager: str, operation: str = APPLY) -> Any:
    share = state.managers.get(Identity.of(manager, operation, "v1"))
    return share.fields.get("f:spec") if share else None


NOTHING = Applied({}, {})
NO_STRING = "expected string, got &value.valueUnstructured{Value:1}"
NO_NUMBER = "expected numeric (int or float), got string"
SOUND = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
CHANGES = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.booleans(), CONFIGS), min_size=1, max_size=5
)


@given(CHANGES)
def test_nobody_manages_what_is_not_there(steps: list[tuple[str, bool, Any]]) -> None:
    state = NOTHING
    for manager, applies, config in steps:
        state = apply(state, manager, config, force=True) if applies else update(
            state, manager, config
        )  # fmt: skip
        there = sets.union(compare_new(KIND, state.obj), fields_of(KIND, state.obj))
        for share in state.managers.values():
            assert sets.difference(share.fields, there) == {}
            assert share.fields
        assert read(written(state.managers)) == state.managers


@given(CONFIGS, CONFIGS)
def test_applying_twice_changes_nothing(first: Any, config: Any) -> None:
    state = apply(apply(NOTHING, "one", first), "two", config, force=True)
    again = apply(state, "two", config, at=T1)
    assert again == state


@given(CONFIGS, CONFIGS)
def test_what_is_no_longer_applied_goes(first: Any, second: Any) -> None:
    state = apply(apply(NOTHING, "one", first), "one", second)
    fresh = apply(NOTHING, "one", second)
    assert state.obj.get("spec") == fresh.obj.get("spec")
    assert fields_by(state, "one") == fields_by(fresh, "one")


@given(CONFIGS, CONFIGS)
def test_managers_commute_where_they_do_not_meet(first: Any, second: Any) -> None:
    try:
        one = apply(apply(NOTHING, "one", first), "two", second)
        two = apply(apply(NOTHING, "two", second), "one", first)
    except ConflictsError:
        with pytest.raises(ConflictsError):
            apply(apply(NOTHING, "two", second), "one", first)
        return
    assert one.managers == two.managers
    assert fields_of(KIND, one.obj) == fields_of(KIND, two.obj)


@given(CONFIGS, CONFIGS)
def test_force_takes_and_leaves_no_conflict(first: Any, second: Any) -> None:
    state = apply(apply(NOTHING, "one", first), "two", second, force=True)
    assert apply(state, "two", second) == state


@given(CONFIGS, CONFIGS)
def test_who_updates_manages_what_changed_and_nobody_else_does(old: Any, new: Any) -> None:
    state = update(apply(NOTHING, "one", old), "two", new)
    mine = fields_by(state, "two", UPDATE) or {}
    theirs = fields_by(state, "one") or {}
    assert sets.intersection(mine, theirs) == {}
    assert update(state, "three", new) == state


def test_fields_are_shared_by_those_who_apply_the_same() -> None:
    state = apply(NOTHING, "one", spec(replicas=1, labels={"a": "x"}))
    state = apply(state, "two", spec(replicas=1))
    assert fields_by(state, "one") == {"f:replicas": {}, "f:labels": {"f:a": {}}}
    assert fields_by(state, "two") == {"f:replicas": {}}
    # It stays as long as one of them applies it.
    state = apply(state, "one", spec(labels={"a": "x"}))
    assert state.obj == spec(replicas=1, labels={"a": "x"})
    state = apply(state, "two", {})
    assert state.obj == spec(labels={"a": "x"})
    assert fields_by(state, "two") is None


def test_a_conflict_names_manager_and_field() -> None:
    item = {"name": "a", "port": 80, "image": "x"}
    state = apply(NOTHING, "one", spec(replicas=1, items=[item]))
    state = update(state, "kubectl-edit", spec(replicas=2, items=[item]))
    with pytest.raises(ConflictsError) as one:
        apply(state, "two", spec(replicas=3))
    assert str(one.value) == (
        'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .spec.replicas'
    )
    with pytest.raises(ConflictsError) as both:
        apply(state, "two", spec(replicas=3, items=[item | {"image": "y"}]))
    assert str(both.value) == (
        "Apply failed with 2 conflicts: "
        'conflicts with "kubectl-edit" using v1:\n- .spec.replicas\n'
        'conflicts with "one":\n- .spec.items[name="a",port=80].image'
    )
    forced = apply(state, "two", spec(replicas=3, items=[item | {"image": "y"}]), force=True)
    assert fields_by(forced, "kubectl-edit", UPDATE) is None
    assert "f:image" not in fields_by(forced, "one")["f:items"]['k:{"name":"a","port":80}']


def test_what_others_added_to_a_list_stays() -> None:
    state = apply(NOTHING, "one", spec(items=[{"name": "a"}], tags=["x"]))
    state = apply(state, "two", spec(items=[{"name": "b"}], tags=["x", "y"]))
    state = apply(state, "one", spec(replicas=1))
    assert state.obj == spec(replicas=1, items=[{"name": "b"}], tags=["x", "y"])


def test_an_item_goes_with_what_only_its_applier_set() -> None:
    state = apply(NOTHING, "one", spec(items=[{"name": "a", "image": "x"}, {"name": "b"}]))
    state = apply(state, "one", spec(items=[{"name": "b"}]))
    assert state.obj == spec(items=[{"name": "b"}])


def test_fields_of_those_who_came_before_the_first_apply_have_a_manager() -> None:
    state = apply(Applied(spec(replicas=1), {}), "one", spec(labels={"a": "x"}))
    assert fields_by(state, "before-first-apply", UPDATE) == {"f:replicas": {}}


def test_an_entry_is_as_old_as_its_last_change() -> None:
    state = apply(NOTHING, "one", spec(replicas=1))
    state = update(state, "two", spec(replicas=2), at=T1)
    state = apply(state, "one", spec(replicas=2), at="2026-01-01T00:00:02Z")
    times = {who.manager: share.time for who, share in state.managers.items()}
    assert times == {"one": "2026-01-01T00:00:02Z", "two": T1}


def test_the_oldest_of_too_many_updates_share_an_entry() -> None:
    managers: Managers = {
        Identity(f"m{n:02}", UPDATE, "v1"): Share(
            {f"f:a{n:02}": {}}, "v1", f"2026-01-01T00:00:{n:02}Z"
        )
        for n in range(UPDATE_MANAGERS_MAX + 2)
    }
    found = capped(managers)
    assert len(found) == UPDATE_MANAGERS_MAX
    ancient = found[Identity(ANCIENT, UPDATE, "v1")]
    assert ancient.fields == {"f:a00": {}, "f:a01": {}, "f:a02": {}}
    assert ancient.time == "2026-01-01T00:00:02Z"
    assert capped(found) == found


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (spec(nothing=1), ".spec.nothing: field not declared in schema"),
        (
            spec(items=[{"name": "a"}, {"name": "a", "port": 80}]),
            '.spec.items: duplicate entries for key [name="a",port=80]',
        ),
        (spec(tags=["x", "x"]), '.spec.tags: duplicate entries for key [="x"]'),
        (spec(replicas="1"), f".spec.replicas: {NO_NUMBER}"),
        (spec(labels={"a": 1}), f".spec.labels.a: {NO_STRING}"),
        (spec(args={"a": True}), ".spec.args: expected list, got &{map[a:true]}"),
        ({"spec": "x"}, ".spec: expected map, got &{x}"),
        (
            spec(args=[1], replicas="x"),
            f"errors:\n  .spec.args[0]: {NO_STRING}\n  .spec.replicas: {NO_NUMBER}",
        ),
    ],
)
def test_a_configuration_must_fit_the_schema(config: Any, message: str) -> None:
    with pytest.raises(MistypedError) as refused:
        apply(NOTHING, "one", config)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({}, id="no list"),
        pytest.param([3], id="no object"),
        pytest.param([{"operation": "Patch"}], id="another operation"),
        pytest.param([{"operation": "Update"}], id="no version"),
        pytest.param([{"operation": "Update", "apiVersion": "v1"}], id="no type of fields"),
        pytest.param(
            [SOUND | {"fieldsV1": {"k:": {}}}],
            id="malformed fields",
        ),
        pytest.param(
            [SOUND | {"fieldsV1": {"f:a": 1}}],
            id="fields that are no objects",
        ),
    ],
)
def test_made_up_entries_are_refused(entries: Any) -> None:
    with pytest.raises(MalformedError):
        read(entries)
