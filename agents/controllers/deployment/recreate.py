"""Recreate: every old Pod ends before the first new one starts.

Source: Kubernetes documentation, "Deployments, Recreate Deployment".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.controllers.deployment.rollout import Rollout
from kubraft.api.object import Object, uid_of
from kubraft.api.pods import is_terminated


def scale_down_old(rollout: Rollout) -> bool:
    """Let every old ReplicaSet want no Pods; False where none wants any."""
    scaled = [rollout.scale(replica_set, 0) for replica_set in rollout.active_old]
    return any(scaled)


def old_pods_run(rollout: Rollout, pods: Mapping[str, Sequence[Object]]) -> bool:
    """Whether a Pod of another template may still run.

    Args:
        pods: by uid of the ReplicaSet that controls them, terminating ones included.
    """
    if any((rs.get("status") or {}).get("replicas", 0) for rs in rollout.old):
        return True
    new_uid = uid_of(rollout.new) if rollout.new is not None else None
    return any(
        not is_terminated(pod) for uid, owned in pods.items() if uid != new_uid for pod in owned
    )
