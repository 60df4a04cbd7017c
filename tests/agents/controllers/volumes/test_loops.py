"""The loops around the plans: caches that are late, answers that are lost, nodes that are gone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from agents.controllers.volumes.ephemeral import EphemeralVolumes
from agents.controllers.volumes.local_provisioner import LocalProvisioner
from agents.controllers.volumes.protection import ClaimProtection, VolumeProtection
from kubraft.api import storage
from kubraft.api.errors import ConflictError, ServiceUnavailableError
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD
from kubraft.api.object import Object, ObjectKey, key_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.volume_objects import claim, given, storage_class, volume

GOING = {"deletionTimestamp": "2020-01-01T00:00:00Z"}
DATA = ObjectKey("default", "data")
LOCAL = storage_class(
    "standard", storage.LOCAL_PROVISIONER, volumeBindingMode="WaitForFirstConsumer"
)
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-0", "labels": {"kubernetes.io/hostname": "node-0"}},
}


def user(node: str = "node-0", **source: Any) -> Object:
    """A Pod that uses the claim, or another volume."""
    made = source or {"persistentVolumeClaim": {"claimName": "data"}}
    spec = {"volumes": [{"name": "data", **made}], **({"nodeName": node} if node else {})}
    metadata = {"namespace": "default", "name": "web", "uid": "uid-web"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def finalizers(api: LaggingApi, kind: Any, key: ObjectKey) -> list[str] | None:
    found = api.objects.get((kind, key))
    return None if found is None else found["metadata"].get("finalizers") or []


@pytest.mark.parametrize("outcome", ["ok", "lost", "unheard"])
async def test_a_claim_gets_one_volume_whatever_is_heard(outcome: str) -> None:
    api = LaggingApi()
    provisioner = LocalProvisioner(api.context())
    annotations = {
        storage.PROVISIONER: storage.LOCAL_PROVISIONER, storage.SELECTED_NODE: "node-0"
    }  # fmt: skip
    for obj in (LOCAL, NODE, claim(annotations=annotations, storageClassName="standard")):
        api.put(obj)
    api.deliver_all()
    api.outcomes.append(outcome)
    for _attempt in range(3):  # the cache shows nothing of it yet
        with suppress(ServiceUnavailableError):
            await provisioner.reconcile(DATA)
    (made,) = api.of_kind(PERSISTENT_VOLUME)
    assert made["spec"]["claimRef"]["uid"] == "uid-data"
    assert made["metadata"]["finalizers"] == [storage.LOCAL_FINALIZER]
    assert storage.reaches(made, "node-0", NODE["metadata"]["labels"])  # type: ignore[index]
    assert not storage.reaches(made, "node-1", {"kubernetes.io/hostname": "node-1"})


@pytest.mark.parametrize(
    ("cached", "there", "kept"),
    [(True, True, True), (False, True, True), (False, False, False)],
    ids=["a node that is there", "one that the cache lacks", "one that is gone"],
)
async def test_only_volumes_of_nodes_that_are_gone_go_without_them(
    cached: bool,
    there: bool,
    kept: bool,
) -> None:
    api = LaggingApi()
    provisioner = LocalProvisioner(api.context())
    made = {storage.PROVISIONED_BY: storage.LOCAL_PROVISIONER}
    going = volume(
        phase="Released",
        annotations=made,
        labels={storage.LOCAL_NODE: "node-0"},
        finalizers=[storage.LOCAL_FINALIZER, "another"],
        **GOING,
    )
    if there and cached:
        api.put(NODE)
    api.put(going)
    api.deliver_all()
    if there and not cached:
        api.put(NODE)
    await provisioner.reconcile(ObjectKey("", "disk"))
    found = finalizers(api, PERSISTENT_VOLUME, ObjectKey("", "disk")) or []
    assert (storage.LOCAL_FINALIZER in found) == kept
    assert "another" in found


@pytest.mark.parametrize(
    ("pod", "seen", "kept"),
    [
        pytest.param(None, True, False, id="no Pod"),
        pytest.param(user(), True, True, id="a Pod"),
        pytest.param(user(), False, True, id="a Pod that the cache lacks"),
        pytest.param(user(""), True, False, id="a Pod that will never get the claim"),
    ],
)
async def test_a_claim_in_use_stays(
    pod: Object | None,
    seen: bool,
    kept: bool,
) -> None:
    api = LaggingApi()
    protection = ClaimProtection(api.context())
    if pod is not None and seen:
        api.put(pod)
    api.put(claim(finalizers=[storage.CLAIM_PROTECTION, "another"], **GOING))
    api.deliver_all()
    if pod is not None and not seen:
        api.put(pod)
    await protection.reconcile(DATA)
    found = finalizers(api, PERSISTENT_VOLUME_CLAIM, DATA) or []
    assert (storage.CLAIM_PROTECTION in found) == kept


async def test_what_has_no_finalizer_gets_it_and_bound_volumes_keep_it() -> None:
    api = LaggingApi()
    claims, volumes = ClaimProtection(api.context()), VolumeProtection(api.context())
    api.put(claim())
    api.put(volume("fresh"))
    ours = [storage.VOLUME_PROTECTION, "another"]
    held = given(claim())
    api.put(volume("held", phase="Bound", claimRef=held, finalizers=ours, **GOING))
    api.put(volume("free", phase="Released", claimRef=held, finalizers=ours, **GOING))
    api.deliver_all()
    await claims.reconcile(DATA)
    for name in ("fresh", "held", "free"):
        await volumes.reconcile(ObjectKey("", name))
    assert finalizers(api, PERSISTENT_VOLUME_CLAIM, DATA) == [storage.CLAIM_PROTECTION]
    found = {n: finalizers(api, PERSISTENT_VOLUME, ObjectKey("", n)) for n in ("held", "free")}
    assert found == {"held": ours, "free": ["another"]}
    fresh = finalizers(api, PERSISTENT_VOLUME, ObjectKey("", "fresh"))
    assert fresh == [storage.VOLUME_PROTECTION]


async def test_an_ephemeral_volume_has_a_claim_of_its_pod() -> None:
    api = LaggingApi()
    controller = EphemeralVolumes(api.context())
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"storageClassName": "slow"}}
    pod = api.put(user(ephemeral={"volumeClaimTemplate": template}))
    api.deliver_all()
    await controller.reconcile(key_of(pod))
    (made,) = api.of_kind(PERSISTENT_VOLUME_CLAIM)
    assert (made["metadata"]["name"], made["metadata"]["labels"]) == ("web-data", {"a": "b"})
    assert storage.is_made_for(made, pod)
    api.remove((PERSISTENT_VOLUME_CLAIM, key_of(made)))
    api.put(claim("web-data"))
    api.deliver_all()
    with pytest.raises(ConflictError, match="was not created for pod"):
        await controller.reconcile(key_of(pod))
    assert len(api.of_kind(PERSISTENT_VOLUME_CLAIM)) == 1
    assert api.of_kind(POD) == [pod]
