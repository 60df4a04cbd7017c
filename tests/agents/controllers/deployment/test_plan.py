from __future__ import annotations

import copy
from typing import Any

import pytest

from agents.controllers.action import Create, Emit, Update
from agents.controllers.deployment.plan import after_collision, after_failed_create, plan
from agents.controllers.deployment.revision import REVISION, REVISION_HISTORY
from kubraft.api.conditions import find_condition
from kubraft.api.object import Object, annotations_of, labels_of
from tests.agents.controllers.deployment.world import World
from tests.agents.controllers.objects import NOW, deployment, pod, with_image


def condition(world: World, type_: str) -> dict[str, Any]:
    found = find_condition(world.deployment["status"]["conditions"], type_)
    assert found is not None
    return found


def running(**spec: Any) -> World:
    """A Deployment whose Pods all run."""
    world = World(deployment(**spec))
    world.settle()
    return world


def by_image(world: World, image: str) -> Object:
    return next(
        rs
        for rs in world.replica_sets.values()
        if rs["spec"]["template"]["spec"]["containers"][0]["image"] == image
    )


def test_a_new_deployment_gets_a_replica_set_of_its_template() -> None:
    world = World(deployment(minReadySeconds=5))
    world.step()
    (created,) = world.replica_sets.values()
    hash_ = created["metadata"]["labels"]["pod-template-hash"]
    assert created["metadata"]["name"] == f"web-{hash_}"
    assert created["spec"]["selector"] == {
        "matchLabels": {"app": "web", "pod-template-hash": hash_}
    }
    assert created["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == hash_
    assert created["spec"]["minReadySeconds"] == 5
    assert labels_of(created) == {"app": "web", "pod-template-hash": hash_}
    assert annotations_of(created) == {
        REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert world.events == [f"Scaled up replica set web-{hash_} from 0 to 3"]
    assert annotations_of(world.deployment)[REVISION] == "1"
    progressing = condition(world, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetCreated")
    assert progressing["message"] == f'Created new replica set "web-{hash_}"'
    available = condition(world, "Available")
    assert (available["status"], available["reason"]) == ("False", "MinimumReplicasUnavailable")


def test_a_finished_roll_out_says_so_and_then_rests() -> None:
    world = running()
    status = world.deployment["status"]
    assert {k: status[k] for k in status if k.endswith("eplicas")} == {
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert condition(world, "Available")["reason"] == "MinimumReplicasAvailable"
    decided = world.step()
    assert decided.actions == ()
    assert decided.requeue_s is None


def test_a_roll_out_replaces_pods_and_keeps_the_old_replica_set() -> None:
    world = running()
    world.edit(with_image(world.deployment, "web:2"))
    world.settle()
    assert world.sizes() == {"web:1": 0, "web:2": 3}
    assert annotations_of(world.deployment)[REVISION] == "2"


def test_a_roll_back_takes_the_old_replica_set_and_gives_it_a_new_revision() -> None:
    world = running()
    world.edit(with_image(world.deployment, "web:2"))
    world.settle()
    world.edit(with_image(world.deployment, "web:1"))
    world.settle()
    assert world.sizes() == {"web:1": 3, "web:2": 0}
    restored = annotations_of(by_image(world, "web:1"))
    assert (restored[REVISION], restored[REVISION_HISTORY]) == ("3", "1")
    assert annotations_of(world.deployment)[REVISION] == "3"


def test_a_template_that_never_gets_ready_stops_with_the_old_pods_serving() -> None:
    world = running(replicas=10, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}})
    world.edit(with_image(world.deployment, "web:broken"))
    for _ in range(20):
        world.observe()
        world.step()
        for uid in world.replica_sets:
            world.run_replica_set(uid)
            world.report(uid)
    assert world.sizes() == {"web:1": 8, "web:broken": 5}
    world.elapsed_s += 599
    world.observe()
    wait_s = world.step().requeue_s
    assert wait_s is not None
    assert 1 <= wait_s <= 3
    world.elapsed_s += 5
    world.step()
    stuck = condition(world, "Progressing")
    assert (stuck["status"], stuck["reason"]) == ("False", "ProgressDeadlineExceeded")
    name = by_image(world, "web:broken")["metadata"]["name"]
    assert stuck["message"] == f'ReplicaSet "{name}" has timed out progressing.'
    assert condition(world, "Available")["status"] == "True"
    # Undo ends the broken Pods and brings back what was there.
    world.edit(with_image(world.deployment, "web:1"))
    world.settle()
    assert world.sizes() == {"web:1": 10, "web:broken": 0}


def test_another_template_amid_a_roll_out_rolls_over() -> None:
    world = running(replicas=6)
    world.edit(with_image(world.deployment, "web:2"))
    for _ in range(3):
        world.observe()
        world.step()
    world.edit(with_image(world.deployment, "web:3"))
    world.settle()
    assert world.sizes() == {"web:1": 0, "web:2": 0, "web:3": 6}


def test_recreate_waits_until_every_old_pod_has_ended() -> None:
    recreate = deployment(strategy={"type": "Recreate"})
    world = World(recreate)
    world.settle()
    world.edit(with_image(world.deployment, "web:2"))
    world.observe()
    world.step()
    world.observe()
    assert world.sizes() == {"web:1": 0}
    world.step()
    assert world.sizes() == {"web:1": 0}  # its Pods still run
    (uid,) = world.replica_sets
    world.run_replica_set(uid)
    world.report(uid)
    old = by_image(world, "web:1")
    dying = pod("dying", old, terminating=True)
    assert not any(
        isinstance(action, Create)
        for action in plan(world.deployment, [old], {uid: [dying]}, NOW).actions
    )
    world.settle()
    assert world.sizes() == {"web:1": 0, "web:2": 3}


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    world = running()
    paused = with_image(world.deployment, "web:2")
    paused["spec"] |= {"paused": True, "replicas": 5}
    world.edit(paused)
    world.settle()
    assert world.sizes() == {"web:1": 5}
    assert condition(world, "Progressing")["reason"] == "DeploymentPaused"
    resumed = copy.deepcopy(world.deployment)
    resumed["spec"]["paused"] = False
    world.edit(resumed)
    world.settle()
    assert world.sizes() == {"web:1": 0, "web:2": 5}


def test_history_is_cut_to_its_limit_oldest_first() -> None:
    world = running(revisionHistoryLimit=2)
    for number in range(2, 7):
        world.edit(with_image(world.deployment, f"web:{number}"))
        world.settle()
    assert world.sizes() == {"web:4": 0, "web:5": 0, "web:6": 3}


def test_scaling_amid_a_roll_out_keeps_the_proportions() -> None:
    # The example of the documentation: 10 replicas, maxSurge 3, maxUnavailable 2, stuck at 8 and 5.
    world = running(replicas=10, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}})
    world.edit(with_image(world.deployment, "web:broken"))
    for _ in range(20):
        world.observe()
        world.step()
        for uid in world.replica_sets:
            world.run_replica_set(uid)
            world.report(uid)
    grown = copy.deepcopy(world.deployment)
    grown["spec"]["replicas"] = 15
    world.edit(grown)
    world.observe()
    world.step()
    assert world.sizes() == {"web:1": 11, "web:broken": 7}


@pytest.mark.parametrize("replicas", [0, 1, 7])
def test_scaling_alone_makes_no_roll_out(replicas: int) -> None:
    world = running()
    scaled = copy.deepcopy(world.deployment)
    scaled["spec"]["replicas"] = replicas
    world.edit(scaled)
    world.settle()
    assert world.sizes() == {"web:1": replicas}
    assert annotations_of(world.deployment)[REVISION] == "1"


def test_a_name_that_is_taken_gives_the_next_hash() -> None:
    first = deployment()
    (taken,) = (a.obj for a in plan(first, [], {}, NOW).actions if isinstance(a, Create))
    counted = after_collision(first)
    assert counted.obj["status"]["collisionCount"] == 1
    (free,) = (a.obj for a in plan(counted.obj, [], {}, NOW).actions if isinstance(a, Create))
    assert free["metadata"]["name"] != taken["metadata"]["name"]


def test_a_refused_replica_set_is_told_in_status_and_event() -> None:
    update, event = after_failed_create(deployment(), "web-abc", "exceeded quota", NOW)
    assert isinstance(update, Update)
    (told,) = update.obj["status"]["conditions"]
    assert (told["status"], told["reason"]) == ("False", "ReplicaSetCreateError")
    assert told["message"] == 'Failed to create new replica set "web-abc": exceeded quota'
    (again,) = after_failed_create(update.obj, "web-abc", "exceeded quota", NOW)
    assert event == Emit(deployment(), "Warning", "FailedCreate", told["message"])
    assert isinstance(again, Emit)


def test_the_deployments_annotations_reach_its_newest_replica_set() -> None:
    world = running()
    annotated = copy.deepcopy(world.deployment)
    annotated["metadata"]["annotations"]["kubernetes.io/change-cause"] = "first release"
    world.deployment = annotated
    world.settle()
    assert annotations_of(by_image(world, "web:1"))["kubernetes.io/change-cause"] == "first release"
