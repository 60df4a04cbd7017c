"""Deployments and ReplicaSets in full."""

from __future__ import annotations

from typing import Any

from kubraft.api.conditions import conditions_of
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, annotations_of, controller_of, is_terminating, labels_of
from kubraft.api.pods import phase_of
from kubraft.cli.describe.page import NONE, Page
from kubraft.cli.describe.pod import describe_template
from kubraft.cli.rollout_state import REVISION, replica_sets_of

Json = dict[str, Any]


def describe_deployment(page: Page, deployment: Object, replica_sets: list[Object]) -> None:
    """One Deployment and its ReplicaSets, the newest apart from the old ones."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    page.field("Selector", str(selector_from_object(spec.get("selector"))))
    page.field(
        "Replicas",
        f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
        f"{status.get('unavailableReplicas', 0)} unavailable",
    )
    strategy = spec.get("strategy") or {}
    page.field("StrategyType", strategy.get("type", "RollingUpdate"))
    page.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    if rolling := strategy.get("rollingUpdate"):
        page.field(
            "RollingUpdateStrategy",
            f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge",
        )
    describe_template(page, spec["template"])
    page.table("Conditions", ["Type", "Status", "Reason"], _conditions(deployment))
    revision = annotations_of(deployment).get(REVISION)
    old: list[str] = []
    new: list[str] = []
    for replica_set in replica_sets_of(deployment, replica_sets):
        is_new = annotations_of(replica_set).get(REVISION) == revision
        (new if is_new else old).append(_replica_set_line(replica_set))
    page.field("OldReplicaSets", ", ".join(old))
    page.field("NewReplicaSet", ", ".join(new))


def _replica_set_line(replica_set: Object) -> str:
    wanted = replica_set["spec"].get("replicas", 0)
    there = (replica_set.get("status") or {}).get("replicas", 0)
    return f"{replica_set['metadata']['name']} ({there}/{wanted} replicas created)"


def describe_replica_set(page: Page, replica_set: Object, pods: list[Object]) -> None:
    """One ReplicaSet and how its Pods are."""
    spec, status = replica_set["spec"], replica_set.get("status") or {}
    page.field("Selector", str(selector_from_object(spec.get("selector"))))
    owner = controller_of(replica_set)
    page.field("Controlled By", f"{owner['kind']}/{owner['name']}" if owner else NONE)
    page.field(
        "Replicas", f"{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired"
    )
    uid = replica_set["metadata"].get("uid")
    own = [pod for pod in pods if (controller_of(pod) or {}).get("uid") == uid]
    phases = [phase_of(pod) for pod in own if not is_terminating(pod)]
    counts = (
        f"{phases.count(phase)} {shown}"
        for phase, shown in (
            ("Running", "Running"),
            ("Pending", "Waiting"),
            ("Succeeded", "Succeeded"),
            ("Failed", "Failed"),
        )
    )
    page.field("Pods Status", " / ".join(counts))
    describe_template(page, spec.get("template") or {})
    page.table("Conditions", ["Type", "Status", "Reason"], _conditions(replica_set))


def _conditions(obj: Object) -> list[list[str]]:
    return [
        [c.get("type", ""), c.get("status", ""), c.get("reason", "")] for c in conditions_of(obj)
    ]


def selects(selector: Json | None, pod: Object) -> bool:
    """Whether plain labels, as a Service has them, select the Pod; none selects nothing."""
    labels = labels_of(pod)
    return bool(selector) and all(labels.get(k) == v for k, v in (selector or {}).items())
