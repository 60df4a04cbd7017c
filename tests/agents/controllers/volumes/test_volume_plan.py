"""What becomes of a volume, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.action import Delete, Emit, Update
from agents.controllers.volumes.provision import plan_growth, plan_provision, plan_reclaim
from agents.controllers.volumes.volume_plan import Unsure, plan_volume
from kubraft.api import storage
from kubraft.api.object import Object
from tests.agents.volume_objects import BOUND, claim, given, storage_class, volume

MADE = {storage.PROVISIONED_BY: storage.LOCAL_PROVISIONER}
HELD = claim(volumeName="disk", annotations=BOUND)
OTHERS = claim("data", uid="a later one")
ELSEWHERE = claim(volumeName="another", annotations=BOUND)
DELETE = {"persistentVolumeReclaimPolicy": "Delete"}
OURS: dict[str, Any] = {"annotations": MADE, **DELETE}
NO_DELETER = (
    'error getting deleter volume plugin for volume "disk": no deletable volume plugin matched'
)


@pytest.mark.parametrize(
    ("of", "of_claim", "sure", "phase"),
    [
        (volume(phase="Pending"), None, False, "Available"),
        (volume(phase="Pending", claimRef={"namespace": "default", "name": "data"}), None, False,
         "Available"),
        (volume(claimRef=given(HELD)), HELD, False, "Bound"),
        (volume(phase="Bound", claimRef=given(HELD)), HELD, False, ""),
        (volume(phase="Bound", claimRef=given(HELD)), None, False, "unsure"),
        (volume(phase="Bound", claimRef=given(HELD)), None, True, "Released"),
        (volume(phase="Bound", claimRef=given(HELD)), OTHERS, True, "Released"),
        (volume(claimRef=given(HELD)), claim(), False, ""),
        (volume(phase="Released", claimRef=given(HELD)), None, False, ""),
        (volume(phase="Released", claimRef=given(HELD), **DELETE), None, False, "Failed"),
        (volume(phase="Released", claimRef=given(HELD), **OURS), None, False, ""),
        (volume(claimRef=given(ELSEWHERE), **OURS), ELSEWHERE, True, "Released"),
    ],
    ids=[
        "free", "wished for", "bound", "still bound", "claim not in the cache", "claim is gone",
        "claim was made anew", "claim takes it soon", "retained", "nobody can delete it",
        "its maker deletes it", "made for a claim that has another",
    ],
)  # fmt: skip
def test_phases(of: Object, of_claim: Object | None, sure: bool, phase: str) -> None:
    actions = plan_volume(of, of_claim, sure=sure)
    if isinstance(actions, Unsure):
        assert phase == "unsure"
        return
    phases = [a.obj["status"]["phase"] for a in actions if isinstance(a, Update)]
    assert phases == ([phase] if phase else [])


def test_a_volume_that_its_claim_did_not_take_is_free_again() -> None:
    for by_us, left in ((True, None), (False, {"namespace", "name", "kind", "apiVersion"})):
        annotations = {storage.BOUND_BY_CONTROLLER: "yes"} if by_us else {}
        actions = plan_volume(
            volume(claimRef=given(ELSEWHERE), annotations=annotations), ELSEWHERE, sure=True
        )
        assert not isinstance(actions, Unsure)
        (action,) = actions
        assert isinstance(action, Update)
        ref = action.obj["spec"].get("claimRef")
        assert (set(ref) if ref else None) == left


@pytest.mark.parametrize(
    ("policy", "reason", "text"),
    [
        ("Recycle", "VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        ("Delete", "VolumeFailedDelete", NO_DELETER),
    ],
)  # fmt: skip
def test_what_cannot_be_reclaimed_says_so(policy: str, reason: str, text: str) -> None:
    old = volume(phase="Released", claimRef=given(HELD), persistentVolumeReclaimPolicy=policy)
    actions = plan_volume(old, None, sure=True)
    assert not isinstance(actions, Unsure)
    assert [(a.reason, a.message) for a in actions if isinstance(a, Emit)] == [(reason, text)]


def local_claim(node: str = "node-0", **more: Any) -> Object:
    annotations = {storage.PROVISIONER: storage.LOCAL_PROVISIONER, storage.SELECTED_NODE: node}
    chosen = {k: v for k, v in annotations.items() if v}
    return claim(annotations=chosen, storageClassName="standard", **more)


LOCAL = storage_class(
    "standard", storage.LOCAL_PROVISIONER, volumeBindingMode="WaitForFirstConsumer"
)
NODE = {"metadata": {"name": "node-0", "labels": {"kubernetes.io/hostname": "node-0"}}}


def find_node(name: str) -> Object | None:
    return NODE if name == "node-0" else None


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (local_claim(accessModes=["ReadWriteMany"]),
         "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"),
        (local_claim(volumeMode="Block"), "block volumes are not supported by this provisioner"),
        (local_claim("node-9"), 'node "node-9" not found'),
    ],
)  # fmt: skip
def test_what_the_local_provisioner_refuses(of: Object, why: str) -> None:
    actions = plan_provision(of, LOCAL, find_node)
    failed = f'failed to provision volume with StorageClass "standard": {why}'
    assert [a.message for a in actions if isinstance(a, Emit)] == [failed]


def test_a_claim_of_a_lost_node_is_scheduled_anew() -> None:
    update = plan_provision(local_claim("node-9"), LOCAL, find_node)[0]
    assert isinstance(update, Update)
    assert storage.SELECTED_NODE not in update.obj["metadata"]["annotations"]


def test_nothing_is_made_before_a_node_is_chosen() -> None:
    assert plan_provision(local_claim(""), LOCAL, find_node) == []
    (action,) = plan_provision(
        local_claim(""), {**LOCAL, "volumeBindingMode": "Immediate"}, find_node
    )
    assert isinstance(action, Emit)
    assert action.message.endswith("configuration error, no node was specified")


def test_only_what_may_be_deleted_is() -> None:
    released = volume(phase="Released", claimRef=given(HELD), **DELETE)
    (action,) = plan_reclaim(released)
    assert isinstance(action, Delete)
    assert action.resource_version == "1", "its policy may have been changed since"
    assert plan_reclaim(volume(phase="Released", claimRef=given(HELD))) == []
    assert plan_reclaim(volume(phase="Bound", claimRef=given(HELD), **DELETE)) == []


def test_growth_changes_the_volume_then_the_claim() -> None:
    grows = {**LOCAL, "allowVolumeExpansion": True}
    wanted = claim(size="2Gi", volumeName="disk", status={"capacity": {"storage": "1Gi"}})
    (first,) = plan_growth(wanted, volume(), grows)
    assert isinstance(first, Update)
    assert first.obj["spec"]["capacity"] == {"storage": "2Gi"}
    second, event = plan_growth(wanted, first.obj, grows)
    assert isinstance(second, Update)
    assert second.obj["status"]["capacity"] == {"storage": "2Gi"}
    assert isinstance(event, Emit)
    assert plan_growth(second.obj, first.obj, grows) == []
    assert plan_growth(wanted, volume(), LOCAL) == []
