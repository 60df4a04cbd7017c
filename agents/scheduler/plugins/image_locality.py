"""Nodes that have a Pod's images already.

Source: kube-scheduler's ImageLocality (the bounds, and the share of nodes that have an image).
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Plugin
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.tally import Contribution

_BYTES_MIN = 23 * 1024 * 1024
_BYTES_MAX_EACH = 1000 * 1024 * 1024  # for each container


class ImageLocality(Plugin):
    """Prefers nodes with large images of the Pod; those that few nodes have count for less."""

    name = "ImageLocality"

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        spread = snapshot.totals((self.name,), _images)
        wanted = [image for image in pod.images if image in spread]
        if not wanted:
            return None
        shares = {image: spread[image] / len(snapshot.nodes) for image in wanted}
        most = _BYTES_MAX_EACH * len(pod.images)
        scores = []
        for node in nodes:
            sizes = node.image_sizes
            there = sum(int(sizes.get(image, 0) * shares[image]) for image in wanted)
            within = min(max(there, _BYTES_MIN), most) - _BYTES_MIN
            scores.append(SCORE_MAX * within / (most - _BYTES_MIN))
        return scores if any(scores) else None


def _images(node: NodeInfo) -> Contribution:
    """On how many nodes each image is."""
    return [(name, 1) for name in node.image_sizes]
