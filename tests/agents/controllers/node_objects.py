"""Nodes and Leases for the tests of controllers."""

from __future__ import annotations

from typing import Any

from kubraft.api.object import Object
from tests.agents.controllers.objects import at


def node(name: str = "node-0", ready: str = "True", **parts: Any) -> Object:
    """A node whose condition Ready has that status; empty for no conditions at all."""
    labels: dict[str, str] = {}
    if zone := parts.pop("zone", ""):
        labels["topology.kubernetes.io/zone"] = zone
    conditions = parts.pop("conditions", {})
    listed = [{"type": t, "status": s} for t, s in conditions.items()]
    if ready:
        beat = parts.pop("beat", at(-5))
        listed.append(
            {
                "type": "Ready",
                "status": ready,
                "lastHeartbeatTime": beat,
                "lastTransitionTime": at(-500),
            }
        )
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels,
            "resourceVersion": "1",
            "creationTimestamp": at(-600),
        },
        "spec": parts,
        "status": {"conditions": listed},
    }


def lease(name: str, renewed: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "renewTime": renewed},
    }
