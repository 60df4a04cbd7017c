from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.controllers.garbage.judgement import (
    FOREGROUND,
    ORPHAN,
    Deed,
    Owner,
    blocking,
    judge,
    orphans_dependents,
    standing,
    waits_for_dependents,
    without_finalizer,
)
from kubraft.api.object import Object
from tests.agents.controllers.objects import pod, replica_set


def owned(owners: int, *, finalizers: list[str] | None = None, **metadata: Any) -> Object:
    obj = pod("child")
    obj["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"o{i}", "uid": f"u{i}"} for i in range(owners)
    ]
    if finalizers:
        obj["metadata"]["finalizers"] = finalizers
    obj["metadata"].update(metadata)
    return obj


def dying(finalizer: str) -> Object:
    owner = replica_set("dying")
    owner["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}
    return owner


@pytest.mark.parametrize(
    ("obj", "owners", "deed", "propagation"),
    [
        pytest.param(owned(0), [], Deed.NOTHING, "", id="never owned"),
        pytest.param(owned(1), [Owner.SOLID], Deed.NOTHING, "", id="its owner lives"),
        pytest.param(owned(1), [Owner.ABSENT], Deed.DELETE, "Background", id="its owner is gone"),
        pytest.param(
            owned(2), [Owner.SOLID, Owner.ABSENT], Deed.RELEASE, "", id="one of two is gone"
        ),
        pytest.param(
            owned(2), [Owner.SOLID, Owner.WAITING], Deed.RELEASE, "", id="one of two waits"
        ),
        pytest.param(owned(2), [Owner.ABSENT] * 2, Deed.DELETE, "Background", id="both are gone"),
        pytest.param(
            owned(1, finalizers=[ORPHAN]),
            [Owner.ABSENT],
            Deed.DELETE,
            "Orphan",
            id="it wants its dependents orphaned",
        ),
        pytest.param(
            owned(1, finalizers=[FOREGROUND]),
            [Owner.ABSENT],
            Deed.DELETE,
            "Foreground",
            id="it wants its dependents gone first",
        ),
        pytest.param(
            owned(1), [Owner.WAITING], Deed.DELETE, "Background", id="its owner waits for it"
        ),
        pytest.param(
            owned(1, deletionTimestamp="2026-01-01T00:00:00Z"),
            [Owner.ABSENT],
            Deed.NOTHING,
            "",
            id="it is going already",
        ),
    ],
)
def test_the_owners_decide(obj: Object, owners: list[Owner], deed: Deed, propagation: str) -> None:
    judged = judge(obj, owners, [])
    assert (judged.deed, judged.propagation) == (deed, propagation)


def test_only_references_to_living_owners_stay() -> None:
    judged = judge(owned(3), [Owner.ABSENT, Owner.SOLID, Owner.WAITING], [])
    assert judged.changed is not None
    assert [r["uid"] for r in judged.changed["metadata"]["ownerReferences"]] == ["u1"]


def test_a_dependent_with_dependents_goes_in_the_foreground() -> None:
    grandchild = pod("grandchild")
    judged = judge(owned(1), [Owner.WAITING], [grandchild])
    assert (judged.deed, judged.propagation) == (Deed.DELETE, "Foreground")
    assert judged.changed is None


def test_a_circle_of_waiting_objects_is_broken() -> None:
    child = owned(1)
    child["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = True
    judged = judge(child, [Owner.WAITING], [dying(FOREGROUND)])
    assert judged.changed is not None
    assert judged.changed["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is False


@given(st.lists(st.sampled_from(Owner), min_size=1, max_size=5), st.booleans())
def test_what_has_a_living_owner_is_never_deleted(owners: list[Owner], parent: bool) -> None:
    judged = judge(owned(len(owners)), owners, [pod("x")] if parent else [])
    assert (judged.deed is Deed.DELETE) == (Owner.SOLID not in owners)


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        pytest.param(None, Owner.ABSENT, id="none of that name"),
        pytest.param(replica_set("other"), Owner.ABSENT, id="another of that name"),
        pytest.param(replica_set("dying"), Owner.SOLID, id="exists"),
        pytest.param(dying(FOREGROUND), Owner.WAITING, id="waits"),
        pytest.param(dying("example.com/backup"), Owner.SOLID, id="held by something else"),
    ],
)
def test_how_an_owner_stands(owner: Object | None, expected: Owner) -> None:
    assert standing(owner, "uid-dying") is expected


def test_only_dependents_that_say_so_block() -> None:
    owner = dying(FOREGROUND)
    blocks, waits_not = pod("a", owner), pod("b", owner)
    waits_not["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = False
    assert blocking(owner, [blocks, waits_not, pod("c")]) == [blocks]
    assert waits_for_dependents(owner)
    assert not waits_for_dependents(without_finalizer(owner, FOREGROUND))
    assert orphans_dependents(dying(ORPHAN))
