"""Revisions: each template that a Deployment had is a ReplicaSet with a number, for undo.

Source: Kubernetes documentation, "Deployments, Rolling Back a Deployment".
"""

from __future__ import annotations

from collections.abc import Iterable

from kubraft.api.object import Object, annotations_of

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
# Annotations of a Deployment that are not its ReplicaSets'.
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
# Beyond this the oldest numbers are dropped. Source: upstream's maxRevHistoryLengthInChars.
_HISTORY_CHARS_MAX = 2000


def revision_of(obj: Object) -> int:
    """The number in the revision annotation; 0 where there is none or it is no number."""
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def max_revision(replica_sets: Iterable[Object]) -> int:
    """The highest revision among them; 0 where there are none."""
    return max(map(revision_of, replica_sets), default=0)


def inherited(deployment: Object) -> dict[str, str]:
    """The annotations that `deployment` hands on to its newest ReplicaSet."""
    return {k: v for k, v in annotations_of(deployment).items() if k not in NOT_COPIED}


def renumbered(annotations: dict[str, str], revision: int) -> dict[str, str]:
    """A ReplicaSet's annotations once it is `revision`; a number it had goes to its history.

    A ReplicaSet only ever rises: where it has that number or a higher one, nothing changes.
    """
    old = annotations.get(REVISION, "")
    if old.isdecimal() and int(old) >= revision:
        return annotations
    result = {**annotations, REVISION: str(revision)}
    if old:
        result[REVISION_HISTORY] = _appended(annotations.get(REVISION_HISTORY, ""), old)
    return result


def _appended(history: str, revision: str) -> str:
    numbers = [*(history.split(",") if history else []), revision]
    while len(",".join(numbers)) > _HISTORY_CHARS_MAX:
        numbers.pop(0)
    return ",".join(numbers)
