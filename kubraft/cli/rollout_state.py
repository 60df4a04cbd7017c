"""How far a Deployment's rollout is, and which revisions it has. Pure.

Source: kubectl's rollout commands (conditions, messages, annotations).
"""

from __future__ import annotations

import copy
from typing import Any, Final, NamedTuple

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object, annotations_of, controller_of, uid_of

REVISION: Final = "deployment.kubernetes.io/revision"
CHANGE_CAUSE: Final = "kubernetes.io/change-cause"
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH: Final = "pod-template-hash"


class Progress(NamedTuple):
    """One look at a rollout: what to say, and whether it is over."""

    message: str
    done: bool


class RolloutError(Exception):
    """The rollout will not succeed by itself."""


def progress(deployment: Object, revision: int = 0) -> Progress:
    """Where the rollout stands; `revision` above 0 must still be the one that is rolled out.

    Raises:
        RolloutError: past its deadline, or of another revision.
    """
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    status = deployment.get("status") or {}
    if revision and revision_of(deployment) != revision:
        raise RolloutError(
            f"desired revision ({revision}) is different from the running revision "
            f"({revision_of(deployment)})"
        )
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return Progress("Waiting for deployment spec update to be observed...", done=False)
    condition = find_condition(conditions_of(deployment), "Progressing")
    if condition is not None and condition.get("reason") == "ProgressDeadlineExceeded":
        raise RolloutError(f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    total, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return Progress(
            f"{waiting} {updated} out of {wanted} new replicas have been updated...", done=False
        )
    if total > updated:
        old = total - updated
        return Progress(f"{waiting} {old} old replicas are pending termination...", done=False)
    if available < updated:
        return Progress(
            f"{waiting} {available} of {updated} updated replicas are available...", done=False
        )
    return Progress(f'deployment "{name}" successfully rolled out', done=True)


def revision_of(obj: Object) -> int:
    """The revision that a Deployment or ReplicaSet is annotated with; 0 where it is not."""
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def replica_sets_of(deployment: Object, replica_sets: list[Object]) -> list[Object]:
    """Those that the Deployment controls, the newest revision first."""
    uid = uid_of(deployment)
    own = [rs for rs in replica_sets if (controller_of(rs) or {}).get("uid") == uid]
    return sorted(own, key=revision_of, reverse=True)


def history(deployment: Object, replica_sets: list[Object]) -> dict[int, Object]:
    """The ReplicaSet of each revision, the oldest first."""
    own = replica_sets_of(deployment, replica_sets)
    return {revision_of(rs): rs for rs in reversed(own) if revision_of(rs)}


def template_of(replica_set: Object) -> dict[str, Any]:
    """The Pod template of a revision as a Deployment would have it."""
    template: dict[str, Any] = copy.deepcopy(replica_set["spec"]["template"])
    ((template.get("metadata") or {}).get("labels") or {}).pop(TEMPLATE_HASH, None)
    return template
