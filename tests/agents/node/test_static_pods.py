"""Pods from files: they run, are shown, follow their file, and outlive their mirror's deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.node.static_pods import ManifestError, mirror_of, static_pod
from kubraft.api.gvk import POD
from kubraft.api.object import Object
from tests.agents.node.node_process import Node, running_node, state
from tests.harness.api import ApiUnderTest

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: static}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox, command: [sh, -c, "echo %s; sleep 1000"]}
"""


def test_a_manifest_becomes_a_pod_of_this_node() -> None:
    pod = static_pod(MANIFEST % "a", "node-0")
    assert pod["metadata"]["name"] == "static-node-0"
    assert pod["spec"]["nodeName"] == "node-0"
    assert pod["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    assert static_pod(MANIFEST % "a", "node-0") == pod
    assert static_pod(MANIFEST % "b", "node-0")["metadata"]["uid"] != pod["metadata"]["uid"]
    mirror = mirror_of(pod, "n")
    assert (
        mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] == pod["metadata"]["uid"]
    )
    assert "uid" not in mirror["metadata"]
    assert mirror["metadata"]["ownerReferences"][0]["controller"] is True


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no YAML"),
        pytest.param("[]", id="no object"),
        pytest.param("{apiVersion: v1, kind: Service}", id="no Pod"),
        pytest.param("{apiVersion: v1, kind: Pod, metadata: {name: a}}", id="no containers"),
    ],
)
def test_what_is_no_pod_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        static_pod(text, "node-0")


async def until_shown(node: Node, good: Callable[[list[Object]], object]) -> None:
    """Wait until the Pods that the API has are as wanted."""
    async with asyncio.timeout(60):
        while True:
            if good((await node.client.list(POD, "default")).items):
                return
            await asyncio.sleep(0.05)


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def ready(pods: list[Object]) -> set[str]:
    return {state(pod)["containerID"] for pod in pods if state(pod).get("ready")}


@pytest.mark.e2e
async def test_a_static_pod_from_its_file_to_its_end(api: ApiUnderTest, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    file = folder / "static.yaml"
    file.write_text(MANIFEST % "first")
    flags = (f"--pod-manifest-path={folder}", "--file-check-frequency=200ms")
    async with running_node(api, tmp_path / "node", flags=flags) as node:
        name = "static-node-0"
        await until_shown(node, ready)
        shown = await node.get(name)
        first = state(shown)["containerID"]
        await node.until_logs(name, "first\n")

        # Deleting what shows it changes nothing but that.
        await node.client.delete(POD, name, "default", grace_period_s=0)
        uid = shown["metadata"]["uid"]
        await until_shown(node, lambda pods: uids(pods) and uid not in uids(pods) and ready(pods))
        assert state(await node.get(name))["containerID"] == first

        file.write_text(MANIFEST % "second")
        await until_shown(node, lambda pods: ready(pods) and first not in ready(pods))
        await node.until_logs(name, "second\n")

        file.unlink()
        await until_shown(node, lambda pods: not pods)
