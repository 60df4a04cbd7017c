"""Volumes decide where Pods may go, in upstream's words; and claims get theirs with the node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st

from agents.scheduler.cluster import Cluster
from agents.scheduler.framework import Only, Rejection
from agents.scheduler.plugins.volumes import VolumeRestrictions, VolumeZone
from agents.scheduler.pod_info import PodInfo, pod_info
from agents.scheduler.volume_binding import (
    UNBOUND,
    Bindings,
    Conflict,
    Promise,
    Promised,
    Store,
    UnusableError,
    claim_placed,
    claims_of,
    find_bindings,
    progress,
    volume_given,
)
from kubraft.api import storage
from kubraft.api.object import Object, ObjectKey, key_of
from tests.agents.scheduler.world import cluster, node, pod
from tests.agents.volume_objects import BOUND, claim, given, storage_class, volume

WAITS = storage_class(volumeBindingMode="WaitForFirstConsumer")
STATIC = storage_class("slow", storage.NO_PROVISIONER, volumeBindingMode="WaitForFirstConsumer")
HELD = claim(volumeName="disk", annotations=BOUND, phase="Bound")


def store(*objects: Object) -> Store:
    of_kind: dict[str, dict[ObjectKey, Object]] = {}
    for obj in objects:
        of_kind.setdefault(obj["kind"], {})[key_of(obj)] = obj
    claims = of_kind.get("PersistentVolumeClaim", {})
    volumes = of_kind.get("PersistentVolume", {})
    classes = of_kind.get("StorageClass", {})
    return Store(
        claims.get,
        lambda name: volumes.get(ObjectKey("", name)),
        volumes.values,
        lambda name: classes.get(ObjectKey("", name)),
    )


def consumer(*names: str, name: str = "web", **spec: Any) -> PodInfo:
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in names or ("data",)]
    return pod_info(pod(name, volumes=volumes, **spec))


def at(name: str = "node-0") -> tuple[str, dict[str, str]]:
    return name, {"kubernetes.io/hostname": name}


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        pytest.param([], 'persistentvolumeclaim "data" not found', id="no claim"),
        pytest.param([claim(), storage_class()], UNBOUND, id="bound by others"),
        pytest.param([claim()], UNBOUND, id="no class"),
        pytest.param(
            [claim(phase="Lost", volumeName="disk", annotations=BOUND)],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "disk"',
            id="lost",
        ),
        pytest.param(
            [claim(deletionTimestamp="2020-01-01T00:00:00Z"), WAITS],
            'persistentvolumeclaim "data" is being deleted',
            id="going",
        ),
    ],
)
def test_claims_that_do_for_no_node(objects: list[Object], why: str) -> None:
    with pytest.raises(UnusableError) as caught:
        claims_of(consumer(), store(*objects))
    assert str(caught.value) == why


def test_a_claim_of_an_ephemeral_volume_is_the_pods_own() -> None:
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}
    web = pod_info(pod("web", volumes=[scratch]))
    with pytest.raises(UnusableError, match="waiting for ephemeral volume controller to create"):
        claims_of(web, store())
    with pytest.raises(UnusableError, match="was not created for pod default/web"):
        claims_of(web, store(claim("web-scratch"), WAITS))
    owner = [{"uid": "uid-web", "controller": True, "kind": "Pod"}]
    mine = store(claim("web-scratch", ownerReferences=owner), WAITS)
    assert len(claims_of(web, mine).unbound) == 1


def found(
    where: Store, *names: str, on: str = "node-0", promised: Promised | None = None
) -> Bindings | Iterable[str]:
    claims = claims_of(consumer(*names), where)
    answer = find_bindings(claims, at(on), where, promised or Promised())
    return answer if isinstance(answer, Bindings) else [each.value for each in answer]


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        pytest.param(
            [HELD, volume(node="node-1", claimRef=given(HELD))],
            [Conflict.AFFINITY.value], id="the volume is elsewhere",
        ),
        pytest.param([HELD], [Conflict.GONE.value], id="the volume is gone"),
        pytest.param([claim(), STATIC], [Conflict.NO_VOLUME.value], id="nobody makes volumes"),
        pytest.param(
            [claim(), STATIC, volume(node="node-1")], [Conflict.NO_VOLUME.value],
            id="there is one on another node",
        ),
        pytest.param(
            [claim(annotations={storage.SELECTED_NODE: "node-1"}), WAITS],
            [Conflict.NO_VOLUME.value], id="it is being made elsewhere",
        ),
        pytest.param(
            [claim(), {**WAITS, "allowedTopologies": [{"matchLabelExpressions": [
                {"key": "kubernetes.io/hostname", "values": ["node-7"]}]}]}],
            [Conflict.NO_VOLUME.value], id="it may not be made here",
        ),
    ],
)  # fmt: skip
def test_why_a_node_does_not_do(objects: list[Object], answer: list[str]) -> None:
    assert found(store(*objects)) == answer


def test_a_node_gives_what_it_has_before_what_must_be_made() -> None:
    here = store(claim(), claim("more", "5Gi"), WAITS, volume(node="node-0"), volume("b", "2Gi"))
    answer = found(here, "data", "more")
    assert isinstance(answer, Bindings)
    assert [(v["metadata"]["name"], c["metadata"]["name"]) for v, c in answer.volumes] == [
        ("disk", "data")
    ]
    assert [c["metadata"]["name"] for c in answer.provisioned] == ["more"]


def test_what_is_promised_is_not_promised_again() -> None:
    here = store(claim(), claim("more"), STATIC, volume(node="node-0"))
    first = found(here, "data")
    assert isinstance(first, Bindings)
    promised = Promised({"uid-first": Promise("node-0", first, at()[1])})
    assert found(here, "more", promised=promised) == [Conflict.NO_VOLUME.value]
    # Who shares the claim goes to its node, and waits for the one that was first.
    assert found(here, "data", on="node-1", promised=promised) == [Conflict.NO_VOLUME.value]
    shared = found(here, "data", promised=promised)
    assert isinstance(shared, Bindings)
    assert ([c["metadata"]["name"] for c in shared.shared], shared.volumes) == (["data"], ())
    waiting = Promise("node-0", shared, at()[1])
    assert progress(waiting, here, promised) == (False, "")
    assert progress(waiting, here, Promised()) == (False, 'provisioning failed for PVC "data"')


def test_what_is_written() -> None:
    ours = volume_given(volume(), claim())
    assert ours["spec"]["claimRef"]["uid"] == "uid-data"
    assert ours["metadata"]["annotations"] == {storage.BOUND_BY_CONTROLLER: "yes"}
    wished = volume(claimRef={"namespace": "default", "name": "data"})
    assert volume_given(wished, claim())["metadata"]["annotations"] == {}
    placed = claim_placed(claim(), "node-0")
    assert placed["metadata"]["annotations"] == {storage.SELECTED_NODE: "node-0"}


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        pytest.param([claim(annotations={storage.SELECTED_NODE: "node-0"}, version="2")],
                     (False, ""), id="under way"),
        pytest.param([claim()], (False, ""), id="not seen yet"),
        pytest.param([claim(version="2")],
                     (False, 'provisioning failed for PVC "data"'), id="given back"),
        pytest.param([], (False, 'PVC "default/data" is being deleted'), id="gone"),
        pytest.param([HELD, volume(node="node-0")], (True, ""), id="done"),
        pytest.param([{**HELD, "status": {}}, volume(node="node-0")], (False, ""), id="almost"),
        pytest.param(
            [HELD, volume(node="node-1")],
            (False, 'pv "disk" node affinity doesn\'t match node "node-0"'), id="made elsewhere",
        ),
    ],
)  # fmt: skip
def test_a_pod_waits_for_its_volumes(objects: list[Object], answer: tuple[bool, str]) -> None:
    promise = Promise("node-0", Bindings(provisioned=(claim(),)), at()[1])
    assert progress(promise, store(*objects), Promised()) == answer


def reasons(answer: object, of: Cluster, name: str = "node-0") -> tuple[str, ...]:
    assert answer is not None
    assert not isinstance(answer, Only | Rejection)
    assert callable(answer)
    rejection = answer(of.snapshot().nodes[name])
    return rejection.reasons if rejection else ()


def test_a_claim_for_one_pod_has_one_pod() -> None:
    one = claim(accessModes=["ReadWriteOncePod"])
    plugin = VolumeRestrictions(store(one))
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    user = pod("other", on="node-0", volumes=volumes)
    full = cluster(node(), node("node-1"), user)
    answer = plugin.pre_filter(consumer(), full.snapshot())
    said = (
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
        "access mode"
    )
    assert reasons(answer, full, "node-1") == (said,)
    before = full.snapshot().nodes["node-0"]
    revised = answer.revised(before, before.without_pod(key_of(user)))  # type: ignore[union-attr]
    assert revised(before) is None, "preemption helps"
    assert plugin.pre_filter(consumer(), cluster(node()).snapshot()) is None


def test_volumes_of_a_zone() -> None:
    labels = {"topology.kubernetes.io/zone": "a__b"}
    plugin = VolumeZone(store(HELD, volume(labels=labels)))
    zones = cluster(
        node("node-0", labels={"topology.kubernetes.io/zone": "b"}),
        node("node-1", labels={"topology.kubernetes.io/zone": "c"}),
        node("node-2"),
    )
    answer = plugin.pre_filter(consumer(), zones.snapshot())
    assert reasons(answer, zones, "node-0") == ()
    assert reasons(answer, zones, "node-1") == ("node(s) had no available volume zone",)
    assert reasons(answer, zones, "node-2") == (), "a node that has no zone"


@settings(max_examples=80, deadline=None)
@given_(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=25))
def test_nothing_is_promised_twice(steps: list[tuple[int, int, bool]]) -> None:
    """Pods are given nodes and taken back in any order; some share a claim."""
    sizes = ("1Gi", "2Gi", "1Gi")
    disks = [volume(f"v{n}", size, node=f"node-{n % 2}") for n, size in enumerate(sizes)]
    there = store(STATIC, *disks, *(claim(f"c{n}") for n in range(4)))
    promised = Promised()
    for who, which, stays in steps:
        uid = f"uid-{who}"
        promised.bindings.pop(uid, None)
        claims = claims_of(consumer(f"c{which}", f"c{(which + who) % 4}"), there)
        for on in ("node-0", "node-1"):
            answer = find_bindings(claims, at(on), there, promised)
            if stays and isinstance(answer, Bindings):
                promised.bindings[uid] = Promise(on, answer, at(on)[1])
                break
        pairs = [pair for each in promised.bindings.values() for pair in each.bindings.volumes]
        assert len({v["metadata"]["name"] for v, _claim in pairs}) == len(pairs)
        assert len({c["metadata"]["name"] for _volume, c in pairs}) == len(pairs)
        for each in promised.bindings.values():
            assert all(storage.reaches(v, each.node, each.labels) for v, _ in each.bindings.volumes)
            for shared in each.bindings.shared:
                assert promised.node_of(key_of(shared)) in ("", each.node)
