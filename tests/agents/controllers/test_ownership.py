from __future__ import annotations

from agents.controllers.ownership import adopted, claim, released
from kubraft.api.labels import selector_from_object
from kubraft.api.object import controller_of
from tests.agents.controllers.objects import pod, replica_set

MINE = replica_set("mine")
OTHER = replica_set("other")
SELECTOR = selector_from_object(MINE["spec"]["selector"])


def test_objects_are_sorted_by_selector_and_controller() -> None:
    kept = pod("kept", MINE)
    lost = pod("lost", MINE, labels={"app": "debug"})
    orphan = pod("orphan")
    dying_orphan = pod("dying", terminating=True)
    foreign = pod("foreign", OTHER)
    stranger = pod("stranger", labels={"app": "db"})
    sorted_ = claim(MINE, SELECTOR, [kept, lost, orphan, dying_orphan, foreign, stranger])
    assert sorted_.owned == (kept,)
    assert sorted_.release == (lost,)
    assert sorted_.adopt == (orphan,)


def test_a_terminating_owner_neither_adopts_nor_releases() -> None:
    owner = replica_set("mine")
    owner["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    sorted_ = claim(owner, SELECTOR, [pod("a"), pod("b", MINE, labels={})])
    assert (sorted_.adopt, sorted_.release) == ((), ())


def test_adoption_and_release_undo_each_other() -> None:
    orphan = pod("orphan")
    child = adopted(orphan, MINE)
    reference = controller_of(child)
    assert reference is not None
    assert reference["uid"] == "uid-mine"
    assert reference["blockOwnerDeletion"] is True
    assert released(child, "uid-mine") == orphan
    assert "ownerReferences" not in orphan["metadata"]
