"""Small objects for the tests of controllers."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.controllers.ownership import controller_reference
from kubraft.api.object import Object
from kubraft.api.time import format_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = {"app": "web"}


def at(seconds: float) -> str:
    """The moment so many seconds after `NOW`, as objects write it."""
    return format_time(NOW + timedelta(seconds=seconds))


def deployment(name: str = "web", **spec: Any) -> Object:
    image = spec.pop("image", "web:1")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": at(-1000),
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": dict(LABELS)},
            "template": {
                "metadata": {"labels": dict(LABELS)},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


def with_image(owner: Object, image: str) -> Object:
    changed = copy.deepcopy(owner)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = image
    changed["metadata"]["generation"] += 1
    return changed


def replica_set(name: str = "rs", replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": at(-900),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(LABELS)},
            "template": {
                "metadata": {"labels": dict(LABELS)},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
            **spec,
        },
    }


def job(name: str = "once", **spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": at(-900),
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "selector": {"matchLabels": dict(LABELS)},
            "template": {
                "metadata": {"labels": dict(LABELS)},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "once:1"}],
                },
            },
            **spec,
        },
    }


def cron_job(name: str = "nightly", **spec: Any) -> Object:
    template = job()["spec"]
    del template["selector"]
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": at(-3600),
        },
        "spec": {
            "schedule": "*/10 * * * *",
            "concurrencyPolicy": "Allow",
            "jobTemplate": {"spec": template},
            **spec,
        },
    }


def daemon_set(name: str = "agent", **spec: Any) -> Object:
    return {**deployment(name, **{**spec, "replicas": None}), "kind": "DaemonSet"}


def stateful_set(name: str = "db", **spec: Any) -> Object:
    return {**deployment(name, **{"serviceName": name, **spec}), "kind": "StatefulSet"}


def node(name: str, **spec: Any) -> Object:
    labels = {"kubernetes.io/hostname": name, **spec.pop("labels", {})}
    metadata = {"name": name, "uid": f"uid-{name}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def service(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "selector": dict(LABELS),
            "clusterIP": "10.0.0.1",
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }


def pod(name: str, owner: Object | None = None, **parts: Any) -> Object:
    """A Pod; `ready` is the age of condition Ready in seconds, None for not ready."""
    ready = parts.pop("ready", 0)
    status: dict[str, Any] = {"phase": parts.pop("phase", "Running")}
    if address := parts.pop("ip", ""):
        status["podIPs"] = [{"ip": address}]
    if ready is not None:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": at(-ready)}
        status["conditions"] = [condition]
    if restarts := parts.pop("restarts", 0):
        status["containerStatuses"] = [{"name": "web", "restartCount": restarts}]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": at(-parts.pop("age", 100)),
        "labels": parts.pop("labels", dict(LABELS)),
    }
    if owner is not None:
        metadata["ownerReferences"] = [controller_reference(owner)]
    if (cost := parts.pop("cost", None)) is not None:
        metadata["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    if parts.pop("terminating", False):
        metadata["deletionTimestamp"] = at(0)
    spec: dict[str, Any] = {"containers": [{"name": "web", "image": "web:1"}]}
    if node := parts.pop("node", "node-0"):
        spec["nodeName"] = node
    spec.update(parts)
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status,
    }  # fmt: skip
