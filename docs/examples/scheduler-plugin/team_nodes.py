"""A scheduler plugin: a Pod with the label `team` runs only on nodes with the same label.

It takes part in two points, filter and score, and says what may help a Pod that it kept waiting.
"""

from collections.abc import Mapping
from typing import Any

from agents.scheduler.framework import SCORE_MAX, Change, Plugin, Rejection
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo

OTHERS = Rejection(("node(s) belonged to another team",), resolvable=False)


class TeamNodes(Plugin):
    """Pods of a team go to its nodes; Pods of none rather to nodes of none."""

    requeue_on = Change.NODE_ADDED | Change.NODE_LABELS | Change.POD_UPDATED

    def __init__(self, args: Mapping[str, Any], _handle: Handle) -> None:
        self.label = args.get("label", "team")  # from pluginConfig

    def signature(self, pod: PodInfo) -> str:
        # All that the answers depend on besides the node: they are remembered by it.
        return pod.labels.get(self.label, "")

    def filter(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        wanted = pod.labels.get(self.label)
        return OTHERS if wanted and node.labels.get(self.label) != wanted else None

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return self.filter(pod, node) is None

    def score_node(self, pod: PodInfo, node: NodeInfo) -> float:
        return 0 if self.label in node.labels and self.label not in pod.labels else SCORE_MAX
