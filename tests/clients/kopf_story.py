"""An operator written with kopf, on a kind of its own: finalizers, status, a daemon, events."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

OPERATOR = Path(__file__).with_name("widget_operator.py")
GROUP, PLURAL = "story.example.com", "widgets"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
DEFINITION = {
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": SCHEMA},
            }
        ],
    },
}


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(client.ApiException):
            if found := condition():
                return found
        time.sleep(0.1)
    raise AssertionError(what)


@pytest.fixture
def running(kubeconfig: str, namespace: str, tmp_path: Path) -> Iterator[Any]:
    """The client of a server that knows Widgets, with the operator beside it."""
    api = config.new_client_from_config(kubeconfig)
    client.ApiextensionsV1Api(api).create_custom_resource_definition(DEFINITION)
    widgets = client.CustomObjectsApi(api)
    until(
        lambda: widgets.list_namespaced_custom_object(GROUP, "v1", namespace, PLURAL) is not None,
        "the kind is served",
    )
    log_file = tmp_path / "operator.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, str(OPERATOR)],
            env={**os.environ, "KUBECONFIG": kubeconfig},
            stdout=log,
            stderr=log,
        )
    try:
        yield api
    finally:
        process.terminate()
        process.wait(30)
        print(log_file.read_text()[-8000:])  # noqa: T201 - shown where the story fails


def test_operator_tends_its_objects(running: Any, namespace: str) -> None:
    widgets, core = client.CustomObjectsApi(running), client.CoreV1Api(running)
    where = (GROUP, "v1", namespace, PLURAL)
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}}
    widgets.create_namespaced_custom_object(*where, {**body, "spec": {"size": 1}})

    def shown() -> Any:
        return widgets.get_namespaced_custom_object(*where, "w")

    def status(key: str) -> Any:
        return shown().get("status", {}).get(key)

    made = until(lambda: status("create"), "the handler's result is in the status")
    owned = core.read_namespaced_config_map("w", namespace)
    assert owned.metadata.uid == made["uid"]
    assert owned.metadata.owner_references[0].uid == shown()["metadata"]["uid"]
    assert owned.data == {"size": "1"}
    until(lambda: status("alive"), "the daemon runs")
    assert shown()["metadata"]["finalizers"] == [f"{GROUP}/farewell"]

    widgets.patch_namespaced_custom_object(*where, "w", {"spec": {"size": 2}})
    until(lambda: status("size") == 2, "a change is handled")
    assert core.read_namespaced_config_map("w", namespace).data == {"size": "2"}

    widgets.delete_namespaced_custom_object(*where, "w")
    until(lambda: core.read_namespaced_config_map("w-is-gone", namespace), "the farewell")
    until(lambda: not widgets.list_namespaced_custom_object(*where)["items"], "it is gone")
    events = until(lambda: core.list_namespaced_event(namespace).items, "events are told")
    told = {(event.involved_object.kind, event.reason) for event in events}
    assert ("Widget", "Made") in told
