"""What is done for one claim, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agents.controllers.action import Action, Emit, Update
from agents.controllers.volumes.claim_plan import Picture, plan_claim
from kubraft.api import storage
from kubraft.api.object import Object
from tests.agents.volume_objects import BOUND, claim, given, storage_class, volume


def planned(
    of: Object,
    volumes: Sequence[Object] = (),
    classes: Sequence[Object] = (storage_class(),),
    pods: Sequence[Object] = (),
) -> list[Action]:
    by_name = {v["metadata"]["name"]: v for v in volumes}
    known = {c["metadata"]["name"]: c for c in classes}
    return plan_claim(of, Picture(by_name.get, volumes, known, pods))


def said(actions: Sequence[Action]) -> list[tuple[str, str]]:
    return [(a.reason, a.message) for a in actions if isinstance(a, Emit)]


def written(actions: Sequence[Action], kind: str, subresource: str = "") -> Object | None:
    found = [
        a.obj
        for a in actions
        if isinstance(a, Update) and a.obj["kind"] == kind and a.subresource == subresource
    ]
    assert len(found) <= 1
    return found[0] if found else None


def chosen(actions: Sequence[Action]) -> str:
    """The volume that the claim is given by these actions."""
    changed = written(actions, "PersistentVolumeClaim")
    return str(changed["spec"].get("volumeName", "")) if changed else ""


WISH = {"namespace": "default", "name": "data"}
EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner 'example.com/disk' or "
    "manually by the system administrator. If volume creation is delayed, please verify that the "
    "provisioner is running and correctly registered."
)


@pytest.mark.parametrize(
    ("of", "volumes", "name"),
    [
        pytest.param(
            claim(size="2Gi"),
            [volume("small"), volume("big", "9Gi"), volume("fit", "3Gi")],
            "fit",
            id="the smallest that is large enough",
        ),
        pytest.param(claim(), [volume("b"), volume("a")], "a", id="of the same the first by name"),
        pytest.param(
            claim(), [volume("a"), volume("wish", "9Gi", claimRef=WISH)], "wish",
            id="one set aside for its name",
        ),
        pytest.param(claim(), [volume(storageClassName="fast")], "", id="another class"),
        pytest.param(claim(), [volume(accessModes=["ReadOnlyMany"])], "", id="other modes"),
        pytest.param(claim(), [volume(volumeMode="Block")], "", id="a block device"),
        pytest.param(claim(), [volume(phase="Released")], "", id="one that had another claim"),
        pytest.param(claim(), [volume(claimRef=given(claim("other")))], "", id="another's"),
        pytest.param(
            claim(selector={"matchLabels": {"disk": "ssd"}}),
            [volume("a"), volume("b", labels={"disk": "ssd"})],
            "b",
            id="by selector",
        ),
        pytest.param(
            claim(volumeName="mine"), [volume("a"), volume("mine", "5Gi")], "mine", id="by name"
        ),
    ],
)  # fmt: skip
def test_which_volume_a_claim_gets(of: Object, volumes: list[Object], name: str) -> None:
    actions = planned(of, volumes)
    assert chosen(actions) == name
    if name:
        held = written(actions, "PersistentVolume")
        assert held is not None
        assert held["spec"]["claimRef"]["uid"] == "uid-data"
        assert actions.index(Update(held)) == 0, (
            "a claim without its volume is worse than vice versa"
        )


WAITS = storage_class(volumeBindingMode="WaitForFirstConsumer")


@pytest.mark.parametrize(
    ("of", "volumes", "classes", "pods", "event"),
    [
        pytest.param(
            claim(), [volume()], [WAITS], [],
            ("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
            id="no consumer yet",
        ),
        pytest.param(
            claim(), [], [WAITS], [{"metadata": {"name": "web"}, "spec": {}}],
            ("WaitForPodScheduled", "waiting for pod web to be scheduled"),
            id="its consumer has no node",
        ),
        pytest.param(
            claim(storageClassName=""), [], [], [],
            ("FailedBinding",
             "no persistent volumes available for this claim and no storage class is set"),
            id="no class",
        ),
        pytest.param(
            claim(), [], [], [],
            ("ProvisioningFailed", 'storageclass.storage.k8s.io "slow" not found'),
            id="no such class",
        ),
        pytest.param(
            claim(), [], [storage_class(provisioner=storage.NO_PROVISIONER)], [],
            ("ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner"),
            id="a class without provisioner",
        ),
        pytest.param(
            claim(), [], [storage_class()], [],
            ("ExternalProvisioning", EXTERNAL), id="somebody else provisions",
        ),
        pytest.param(
            claim(volumeName="disk", size="2Gi"), [volume()], [], [],
            ("VolumeMismatch", 'Cannot bind to requested volume "disk": requested PV is too small'),
            id="the named volume is too small",
        ),
        pytest.param(
            claim(volumeName="disk"), [volume(claimRef=given(claim("other")))], [], [],
            ("FailedBinding", 'volume "disk" already bound to a different claim.'),
            id="the named volume is another's",
        ),
    ],
)  # fmt: skip
def test_why_a_claim_has_none(
    of: Object,
    volumes: list[Object],
    classes: list[Object],
    pods: list[Object],
    event: tuple[str, str],
) -> None:
    assert said(planned(of, volumes, classes, pods)) == [event]


def test_a_provisioner_is_named_on_the_claim() -> None:
    changed = written(planned(claim()), "PersistentVolumeClaim")
    assert changed is not None
    wanted = {storage.PROVISIONER: "example.com/disk", storage.BETA_PROVISIONER: "example.com/disk"}
    assert changed["metadata"]["annotations"] == wanted


def test_the_default_class_is_given_late() -> None:
    old = {"creationTimestamp": "2020-01-01T00:00:00Z"}
    first, second = storage_class("old", default=True), storage_class("new", default=True)
    first["metadata"] |= old
    second["metadata"] |= {"creationTimestamp": "2021-01-01T00:00:00Z"}
    changed = written(
        planned(claim(storageClassName=None), [], [first, second]), "PersistentVolumeClaim"
    )
    assert changed is not None
    assert changed["spec"]["storageClassName"] == "new"


def test_a_bound_claim_says_what_it_has() -> None:
    bound = claim(volumeName="disk", annotations=BOUND)
    changed = written(
        planned(bound, [volume(claimRef=given(bound))]), "PersistentVolumeClaim", "status"
    )
    assert changed is not None
    assert changed["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    }
    assert planned(changed, [volume(claimRef=given(bound))]) == []


@pytest.mark.parametrize(
    ("volumes", "reason"),
    [
        pytest.param([], "ClaimLost", id="its volume is gone"),
        pytest.param([volume(claimRef=given(claim("other")))], "ClaimMisbound", id="or another's"),
    ],
)
def test_a_claim_without_its_volume_is_lost(volumes: list[Object], reason: str) -> None:
    bound = claim(volumeName="disk", annotations=BOUND, phase="Bound")
    actions = planned(bound, volumes)
    assert [event for event, _ in said(actions)] == [reason]
    changed = written(actions, "PersistentVolumeClaim", "status")
    assert changed is not None
    assert changed["status"]["phase"] == "Lost"
    assert planned(changed, volumes) == []


def test_nothing_is_bound_to_a_claim_that_is_going() -> None:
    going: dict[str, Any] = {"deletionTimestamp": "2020-01-01T00:00:00Z"}
    assert planned(claim(**going), [volume()]) == []
