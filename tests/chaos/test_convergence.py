"""The soak's checker says nothing of what is as wanted, and names each thing that is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubraft.api.object import Object
from scripts.chaos.churn import Wanted
from scripts.chaos.convergence import Picture, complaints

WANTED = [
    Wanted("Deployment", "web", 2, version=2),
    Wanted("StatefulSet", "db", 1),
    Wanted("DaemonSet", "agent", 1),
    Wanted("Job", "sum", 3),
]
READY = [{"type": "Ready", "status": "True"}]


def workload(kind: str, name: str, **status: Any) -> Object:
    metadata = {"name": name, "uid": f"{kind}-{name}", "generation": 3}
    return {"kind": kind, "metadata": metadata, "status": {"observedGeneration": 3, **status}}


def pod(name: str, owner: str, *, app: str = "", node: str = "node-0", version: int = 1) -> Object:
    address = f"10.0.0.{len(name)}"
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "labels": {"app": app},
            "ownerReferences": [{"uid": owner}],
        },
        "spec": {"nodeName": node, "containers": [{"image": f"kubraft/web:v{version}"}]},
        "status": {
            "phase": "Running",
            "conditions": READY,
            "podIP": address,
            "containerStatuses": [{"state": {"running": {}}}],
        },
    }


def ended(name: str, owner: str) -> Object:
    made = pod(name, owner)
    made["status"] = {
        "phase": "Succeeded",
        "containerStatuses": [{"state": {"terminated": {}}}],
    }
    return made


def picture() -> Picture:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    ones = dict.fromkeys(counts, 1)
    daemon = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled")
    return Picture(
        workloads={
            "Deployment": [workload("Deployment", "web", **counts)],
            "ReplicaSet": [workload("ReplicaSet", "web-1")],
            "StatefulSet": [
                workload("StatefulSet", "db", currentRevision="a", updateRevision="a", **ones)
            ],
            "DaemonSet": [
                workload("DaemonSet", "agent", numberReady=1, **dict.fromkeys(daemon, 1))
            ],
            "Job": [
                workload(
                    "Job",
                    "sum",
                    conditions=[{"type": "Complete", "status": "True"}],
                    succeeded=3,
                    completedIndexes="0-2",
                    uncountedTerminatedPods={},
                )
            ],
        },
        pods=[
            pod("web-1-a", "ReplicaSet-web-1", app="web", version=2),
            pod("web-1-bb", "ReplicaSet-web-1", app="web", version=2),
            pod("db-0", "StatefulSet-db", app="db"),
            pod("agent-x", "DaemonSet-agent", app="agent"),
            ended("sum-0", "Job-sum"),
        ],
        slices=[
            {
                "endpoints": [
                    {"addresses": [address], "conditions": {"ready": True}}
                    for address in ("10.0.0.7", "10.0.0.8")
                ]
            }
        ],
        nodes=[
            {"metadata": {"name": "node-0"}, "spec": {}, "status": {"conditions": READY}},
        ],
        containers={"node-0": 4},
    )


def test_what_is_as_wanted_is_no_complaint() -> None:
    assert complaints(WANTED, picture()) == []


Spoil = Callable[[Picture], Any]


def _job(it: Picture) -> dict[str, Any]:
    status: dict[str, Any] = it.workloads["Job"][0]["status"]
    return status


CASES: list[tuple[str, Spoil, str]] = [
    ("absent", lambda it: it.workloads["Deployment"].clear(), "Deployment web: is not there"),
    (
        "deleted, but there",
        lambda it: it.workloads["Job"].append(workload("Job", "old")),
        "Job old: is deleted, but there",
    ),
    (
        "not seen",
        lambda it: it.workloads["StatefulSet"][0]["metadata"].update(generation=4),
        "StatefulSet db: its controller has not seen its last change",
    ),
    (
        "replicas",
        lambda it: it.workloads["Deployment"][0]["status"].update(readyReplicas=1),
        "Deployment web: status.readyReplicas is 1, not 2",
    ),
    (
        "old version",
        lambda it: it.pods[0]["spec"]["containers"][0].update(image="kubraft/web:v1"),
        "Deployment web: 1 Pods do not run kubraft/web:v2",
    ),
    (
        "name of a set's Pod",
        lambda it: it.pods[2]["metadata"].update(name="db-7"),
        "StatefulSet db: its Pods are db-7",
    ),
    (
        "update under way",
        lambda it: it.workloads["StatefulSet"][0]["status"].update(updateRevision="b"),
        "StatefulSet db: its update has not come to its end",
    ),
    ("counted twice", lambda it: _job(it).update(succeeded=4), "status.succeeded is 4, not 3"),
    (
        "index left out",
        lambda it: _job(it).update(completedIndexes="0,2"),
        "Job sum: status.completedIndexes is 0,2, not 0-2",
    ),
    (
        "uncounted",
        lambda it: _job(it).update(uncountedTerminatedPods={"succeeded": ["u"]}),
        "Job sum: some of its Pods are not counted yet",
    ),
    ("not complete", lambda it: _job(it).update(conditions=[]), "Job sum: is not complete"),
    (
        "orphan",
        lambda it: it.workloads["ReplicaSet"].clear(),
        "Pod web-1-a: its owner is gone",
    ),
    (
        "terminating",
        lambda it: it.pods[4]["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
        "Pod sum-0: is still being deleted",
    ),
    ("lost node", lambda it: it.pods[3]["spec"].update(nodeName="n"), "Pod agent-x: is on no node"),
    (
        "finalizer",
        lambda it: it.pods[4]["metadata"].update(finalizers=["batch.kubernetes.io/job-tracking"]),
        "Pod sum-0: has ended, and has the finalizer batch.kubernetes.io/job-tracking",
    ),
    (
        "endpoint left out",
        lambda it: it.slices[0]["endpoints"].pop(),
        "Service web: does not lead to the ready Pod at 10.0.0.8",
    ),
    (
        "endpoint of nobody",
        lambda it: it.slices[0]["endpoints"].append(
            {"addresses": ["10.0.0.99"], "conditions": {"ready": True}}
        ),
        "Service web: leads to 10.0.0.99, where no Pod is ready",
    ),
    (
        "endpoint twice",
        lambda it: it.slices.append(copy.deepcopy(it.slices[0])),
        "Service web: has 10.0.0.7 2 times",
    ),
    (
        "orphaned process",
        lambda it: it.containers.update({"node-0": 5}),  # type: ignore[attr-defined]
        "Node node-0: 5 containers run, and its Pods have 4",
    ),
    (
        "node away",
        lambda it: it.nodes[0]["status"].update(conditions=[]),
        "Node node-0: is not ready",
    ),
    (
        "taint",
        lambda it: it.nodes[0]["spec"].update(taints=[{"key": "node.kubernetes.io/unreachable"}]),
        "Node node-0: has the taint node.kubernetes.io/unreachable",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "complaint"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_not_is_named(spoil: Spoil, complaint: str) -> None:
    there = picture()
    spoil(there)
    assert any(complaint in line for line in complaints(WANTED, there)), complaints(WANTED, there)
