"""ReplicationControllers: ReplicaSets from before selectors were objects."""

from __future__ import annotations

from agents.controllers.context import Context
from agents.controllers.replica_set.controller import ReplicaSetController
from kubraft.api.gvk import REPLICATION_CONTROLLER
from kubraft.api.labels import NOTHING, LabelSelector, selector_from_labels
from kubraft.api.object import Object


class ReplicationController(ReplicaSetController):
    """As ReplicaSets, with labels for a selector; none selects nothing."""

    KIND = REPLICATION_CONTROLLER
    NAME = "replicationcontroller-controller"

    @staticmethod
    def workers(context: Context) -> int:
        return context.options.concurrent_rc_syncs

    @staticmethod
    def selector(owner: Object) -> LabelSelector:
        labels = owner["spec"].get("selector")
        return selector_from_labels(labels) if labels else NOTHING
