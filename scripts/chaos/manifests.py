"""The objects that stand for what is wanted."""

from __future__ import annotations

from typing import Any, Final

from kubraft.api.gvk import (
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    STATEFUL_SET,
    GroupVersionKind,
)
from kubraft.api.object import Object
from scripts.chaos.churn import APPLICATION, Wanted

NAMESPACE: Final = "chaos"
PORT: Final = 8000
KINDS: Final[dict[str, GroupVersionKind]] = {
    "Deployment": DEPLOYMENT,
    "StatefulSet": STATEFUL_SET,
    "DaemonSet": DAEMON_SET,
    "Job": JOB,
}
# A Job's Pod that a fault takes down counts as a failure of the Job's.
_BACKOFF_LIMIT: Final = 1000


def namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def service() -> Object:
    """The address of the application."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": APPLICATION, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": APPLICATION},
            "ports": [{"name": "http", "port": PORT, "targetPort": 8080}],
        },
    }


def image(wanted: Wanted) -> str:
    """The image of all its Pods."""
    return "python" if wanted.kind == "Job" else f"kubraft/web:v{wanted.version}"


def manifest(wanted: Wanted) -> Object:
    """The workload."""
    kind = KINDS[wanted.kind]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": wanted.name, "namespace": NAMESPACE},
        "spec": _job(wanted) if wanted.kind == "Job" else _server(wanted),
    }


def changes(wanted: Wanted) -> dict[str, Any]:
    """A merge patch that makes what is there what is wanted."""
    spec = _server(wanted)
    del spec["selector"]
    return {"spec": spec}


def _server(wanted: Wanted) -> dict[str, Any]:
    labels = {"app": wanted.name}
    container = {
        "name": "web",
        "image": image(wanted),
        "env": [{"name": "KUBRAFT_WEB_LAME_DUCK_S", "value": "2"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    }
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    if wanted.kind != "DaemonSet":
        spec["replicas"] = wanted.replicas
    if wanted.kind == "Deployment":
        spec["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    if wanted.kind == "StatefulSet":
        spec["serviceName"] = wanted.name
    return spec


def _job(wanted: Wanted) -> dict[str, Any]:
    container = {"name": "work", "image": image(wanted), "command": ["sh", "-c", "sleep 0.2"]}
    return {
        "completionMode": "Indexed",
        "completions": wanted.replicas,
        "parallelism": 2,
        "backoffLimit": _BACKOFF_LIMIT,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }
