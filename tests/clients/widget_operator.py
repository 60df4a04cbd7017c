"""An operator written with kopf: Widgets get a ConfigMap, a status, a daemon and a farewell."""

from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config

GROUP, VERSION, PLURAL = "story.example.com", "v1", "widgets"


def ensure(namespace: str | None, body: dict[str, Any]) -> Any:
    """The ConfigMap, made unless it is there: kopf calls a handler again where it must."""
    core = client.CoreV1Api()
    try:
        return core.create_namespaced_config_map(namespace, body)
    except client.ApiException as error:
        if error.status != 409:
            raise
        return core.read_namespaced_config_map(body["metadata"]["name"], namespace)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_kube_config()
    settings.persistence.finalizer = f"{GROUP}/farewell"
    settings.watching.server_timeout = 60


@kopf.on.create(GROUP, VERSION, PLURAL, backoff=1)
def create(
    body: kopf.Body, spec: kopf.Spec, name: str, namespace: str | None, **_: Any
) -> dict[str, Any]:
    kopf.info(body, reason="Made", message="its ConfigMap")
    owned: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"size": str(spec["size"])},
    }
    owned["metadata"] = {"name": name}
    kopf.adopt(owned)
    made = ensure(namespace, owned)
    return {"uid": made.metadata.uid}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.size", backoff=1)
def resize(new: Any, name: str, namespace: str | None, patch: kopf.Patch, **_: Any) -> None:
    client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": {"size": str(new)}})
    patch.status["size"] = new


@kopf.daemon(GROUP, VERSION, PLURAL, cancellation_timeout=5)
def live(name: str, namespace: str | None, stopped: kopf.DaemonStopped, **_: Any) -> None:
    alive = {"status": {"alive": True}}
    client.CustomObjectsApi().patch_namespaced_custom_object_status(
        GROUP, VERSION, namespace, PLURAL, name, alive
    )
    while not stopped:
        stopped.wait(60)


@kopf.on.delete(GROUP, VERSION, PLURAL, backoff=1)
def farewell(name: str, namespace: str | None, **_: Any) -> None:
    ensure(namespace, {"metadata": {"name": f"{name}-is-gone"}})
