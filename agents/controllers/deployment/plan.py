"""What to do next about one Deployment.

Pure: the Deployment, its ReplicaSets and their Pods in, actions out. Each plan takes one safe step
(create, scale up, scale down or clean up) and what the cache shows of it leads to the next.

Source: Kubernetes documentation, "Deployments".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.controllers.action import Action, Create, Delete, Emit, Update
from agents.controllers.deployment import condition as cond
from agents.controllers.deployment import recreate, rolling, scaling
from agents.controllers.deployment.progress import (
    counted,
    deadline_s,
    is_complete,
    judged,
    next_check_s,
    paused_conditions,
)
from agents.controllers.deployment.revision import (
    REVISION,
    inherited,
    max_revision,
    renumbered,
    revision_of,
)
from agents.controllers.deployment.rollout import Rollout, scale_annotations, with_annotations
from agents.controllers.deployment.strategy import bounds_of, is_rolling_update, replicas_of
from agents.controllers.deployment.template import (
    HASH_LABEL,
    labelled,
    same_template,
    template_hash,
)
from agents.controllers.ownership import controller_reference
from agents.controllers.status import same_status
from kubraft.api.conditions import Condition, find_condition
from kubraft.api.gvk import REPLICA_SET
from kubraft.api.object import Object, annotations_of, is_terminating, key_of, uid_of

_DEFAULT_HISTORY_LIMIT = 10
_KEEP_ALL_HISTORY = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in the order in which they must happen, the status last."""

    actions: tuple[Action, ...]
    requeue_s: float | None = None


def plan(
    deployment: Object,
    replica_sets: Sequence[Object],
    pods: Mapping[str, Sequence[Object]],
    now: datetime,
) -> Plan:
    """Take `deployment` one step towards its spec.

    Args:
        replica_sets: those that it owns.
        pods: by uid of the ReplicaSet that controls them, terminating ones included; only looked
            at for strategy Recreate.
    """
    rollout = picture(deployment, replica_sets)
    conditions = list((deployment.get("status") or {}).get("conditions") or ())
    if is_terminating(deployment):
        status = counted(rollout, conditions, now)
        return _finished(rollout, status, now)
    conditions = paused_conditions(deployment, now)
    conditions = _sync_new(rollout, conditions, now)
    if deployment["spec"].get("paused"):
        scaling.scale(rollout)
        clean_up(rollout)
        return _finished(rollout, counted(rollout, conditions, now), now)
    if scaling.is_scaled(rollout):
        scaling.scale(rollout)
        return _finished(rollout, counted(rollout, conditions, now), now)
    step = _roll if is_rolling_update(deployment) else _recreate
    conditions = step(rollout, conditions, pods, now)
    status = judged(rollout, conditions, now)
    if is_complete(deployment, status) and not rollout.actions:
        clean_up(rollout)
    return _finished(rollout, status, now)


def picture(deployment: Object, replica_sets: Sequence[Object]) -> Rollout:
    """Tell the ReplicaSet of the Deployment's template (of several, the oldest) from the rest."""
    ordered = sorted(replica_sets, key=_age)
    template = deployment["spec"]["template"]
    new = next((r for r in ordered if same_template(r["spec"]["template"], template)), None)
    old = [r for r in ordered if r is not new]
    return Rollout(deployment, bounds_of(deployment), old, new)


def new_replica_set(rollout: Rollout) -> Object:
    """The ReplicaSet of the Deployment's template, as large as the strategy allows at once."""
    deployment = rollout.deployment
    spec, metadata = deployment["spec"], deployment["metadata"]
    collisions = (deployment.get("status") or {}).get("collisionCount")
    hash_ = template_hash(spec["template"], collisions)
    template = labelled(spec["template"], hash_)
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: hash_}
    size = (
        rolling.new_size(rollout, 0)
        if is_rolling_update(deployment)
        else replicas_of(deployment)
    )  # fmt: skip
    replica_set: Object = {
        "apiVersion": REPLICA_SET.api_version,
        "kind": REPLICA_SET.kind,
        "metadata": {
            "name": f"{metadata['name']}-{hash_}",
            "namespace": metadata["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {
                **renumbered(inherited(deployment), max_revision(rollout.old) + 1),
                **scale_annotations(rollout.bounds),
            },
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {"replicas": size, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return replica_set


def clean_up(rollout: Rollout) -> None:
    """Delete the oldest revisions beyond `revisionHistoryLimit`, those that have no Pods."""
    limit = rollout.deployment["spec"].get("revisionHistoryLimit", _DEFAULT_HISTORY_LIMIT)
    if limit is None or limit == _KEEP_ALL_HISTORY:
        return
    kept = sorted((r for r in rollout.old if not is_terminating(r)), key=revision_of)
    for replica_set in kept[: max(0, len(kept) - limit)]:
        if _is_spent(replica_set):
            metadata = replica_set["metadata"]
            rollout.actions.append(
                Delete(
                    REPLICA_SET,
                    key_of(replica_set),
                    uid_of(replica_set),
                    resource_version=metadata.get("resourceVersion", ""),
                )
            )


def after_collision(deployment: Object) -> Update:
    """Count a collision: another object has the name, so the next hash must differ."""
    status = deployment.get("status") or {}
    count = (status.get("collisionCount") or 0) + 1
    return Update({**deployment, "status": {**status, "collisionCount": count}}, "status")


def after_failed_create(
    deployment: Object, name: str, error: str, now: datetime
) -> tuple[Action, ...]:
    """Say, in status and by Event object, that the new ReplicaSet was refused."""
    message = f'Failed to create new replica set "{name}": {error}'
    actions: list[Action] = [Emit(deployment, "Warning", "FailedCreate", message)]
    if deadline_s(deployment) is not None:
        status = deployment.get("status") or {}
        old = status.get("conditions") or []
        fresh = cond.condition(
            cond.PROGRESSING, "False", cond.REPLICA_SET_CREATE_ERROR, message, now
        )
        conditions = cond.replaced(old, fresh)
        if conditions != old:
            changed = {**deployment, "status": {**status, "conditions": conditions}}
            actions.insert(0, Update(changed, "status"))
    return tuple(actions)


def _roll(
    rollout: Rollout,
    conditions: list[Condition],
    pods: Mapping[str, Sequence[Object]],  # noqa: ARG001 - the signature of a strategy's step
    now: datetime,
) -> list[Condition]:
    if rollout.new is None:
        return _create_new(rollout, conditions, now)
    if not rolling.scale_up_new(rollout):
        rolling.scale_down_old(rollout)
    return conditions


def _recreate(
    rollout: Rollout,
    conditions: list[Condition],
    pods: Mapping[str, Sequence[Object]],
    now: datetime,
) -> list[Condition]:
    if recreate.scale_down_old(rollout) or recreate.old_pods_run(rollout, pods):
        return conditions
    if rollout.new is None:
        return _create_new(rollout, conditions, now)
    rollout.scale(rollout.new, rollout.bounds.replicas)
    return conditions


def _create_new(rollout: Rollout, conditions: list[Condition], now: datetime) -> list[Condition]:
    replica_set = new_replica_set(rollout)
    name, size = replica_set["metadata"]["name"], replicas_of(replica_set)
    rollout.actions.append(Create(replica_set))
    if size:
        rollout.note_scaled(name, 0, size)
    rollout.new = replica_set
    if deadline_s(rollout.deployment) is None:
        return conditions
    message = f'Created new replica set "{name}"'
    fresh = cond.condition(cond.PROGRESSING, "True", cond.NEW_REPLICA_SET_CREATED, message, now)
    return cond.replaced(conditions, fresh)


def _sync_new(rollout: Rollout, conditions: list[Condition], now: datetime) -> list[Condition]:
    """Give the new ReplicaSet its revision, the Deployment's annotations and minReadySeconds."""
    new, deployment = rollout.new, rollout.deployment
    if new is None:
        return conditions
    annotations = renumbered(
        {**annotations_of(new), **inherited(deployment)}, max_revision(rollout.old) + 1
    )
    min_ready_s = deployment["spec"].get("minReadySeconds", 0)
    if annotations != annotations_of(new) or new["spec"].get("minReadySeconds", 0) != min_ready_s:
        synced = with_annotations(new, annotations)
        synced["spec"] = {**new["spec"], "minReadySeconds": min_ready_s}
        rollout.replace(synced)
    known = find_condition(conditions, cond.PROGRESSING)
    if known is not None or deadline_s(deployment) is None:
        return conditions
    message = f'Found new replica set "{new["metadata"]["name"]}"'
    fresh = cond.condition(cond.PROGRESSING, "True", cond.FOUND_NEW_REPLICA_SET, message, now)
    return cond.replaced(conditions, fresh)


def _finished(rollout: Rollout, status: dict[str, object], now: datetime) -> Plan:
    """The plan with what must be written about the Deployment itself: its revision, its status."""
    deployment = rollout.deployment
    changed = deployment
    revision = annotations_of(rollout.new).get(REVISION) if rollout.new is not None else None
    if revision and annotations_of(deployment).get(REVISION) != revision:
        changed = with_annotations(deployment, {**annotations_of(deployment), REVISION: revision})
    if changed is not deployment or not same_status(deployment.get("status"), status):
        rollout.actions.append(Update({**changed, "status": status}, "status"))
    return Plan(tuple(rollout.actions), next_check_s(deployment, status, now))


def _is_spent(replica_set: Object) -> bool:
    status = replica_set.get("status") or {}
    generation = replica_set["metadata"].get("generation", 0)
    return (
        replicas_of(replica_set) == 0
        and status.get("replicas", 0) == 0
        and generation <= status.get("observedGeneration", 0)
    )


def _age(replica_set: Object) -> tuple[str, str]:
    metadata = replica_set["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]
