"""What a runtime has at one moment, for runtimes that do not say what changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from agents.node.pod_view import POD_UID
from kubraft.pb.criv1 import api_pb2 as cri


@dataclass(frozen=True, slots=True)
class RuntimePicture:
    """By Pod's uid: its sandboxes and containers with their states."""

    pods: dict[str, frozenset[tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, sandboxes: Iterable[cri.PodSandbox], containers: Iterable[cri.Container]
    ) -> RuntimePicture:
        """What these lists show; others' containers are left out."""
        found: dict[str, set[tuple[str, int]]] = {}
        lists: tuple[Iterable[cri.PodSandbox | cri.Container], ...] = (sandboxes, containers)
        for each in chain(*lists):
            if uid := each.labels.get(POD_UID):
                found.setdefault(uid, set()).add((each.id, each.state))
        return cls({uid: frozenset(states) for uid, states in found.items()})

    def changed_since(self, old: RuntimePicture) -> set[str]:
        """The Pods that are new, gone or different."""
        uids = self.pods.keys() | old.pods.keys()
        return {uid for uid in uids if self.pods.get(uid) != old.pods.get(uid)}
