"""Bad input, as the real kubectl shows it: what waits says why, and nobody runs hot or fights."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import ROOT, Cluster, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

# A Pod, what its container waits for (or its phase), and an event that says why.
PODS = [
    ("crash", "CrashLoopBackOff", "BackOff", "Back-off restarting failed container main"),
    ("no-command", "CrashLoopBackOff", "Failed", '"/no/such/program"'),
    ("hanging-probe", "", "Unhealthy", "timed out"),
    ("hanging-probe", "", "Killing", "Container main failed liveness probe, will be restarted"),
    ("no-settings", "CreateContainerConfigError", "Failed", 'configmap "absent" not found'),
    ("no-volume", "ContainerCreating", "FailedMount", 'configmap "absent" not found'),
    ("too-big", "Pending", "FailedScheduling", "Insufficient cpu"),
    ("no-image", "ImagePullBackOff", "Failed", 'Failed to pull image "nobody/nothing:v1"'),
    ("no-image", "ImagePullBackOff", "BackOff", 'Back-off pulling image "nobody/nothing:v1"'),
    ("no-name-of-an-image", "InvalidImageName", "InspectFailed", "invalid reference format"),
]
REST_S = 3.0
WORKLOADS = "deployments,replicasets,pods,endpointslices,poddisruptionbudgets,resourcequotas"


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._environment = {
            **cluster.environment,
            "KUBECONFIG": str(cluster.home.path / "admin.kubeconfig"),
        }
        self.namespace = namespace

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            ["kubectl", f"--namespace={self.namespace}", *words],
            cwd=ROOT / "tests" / "e2e",
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def items(self, kinds: str, selector: str = "") -> list[dict[str, Any]]:
        found = json.loads(self.run("get", kinds, "-o", "json", f"--selector={selector}"))
        items: list[dict[str, Any]] = found["items"]
        return items

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message), newest last."""
        selected = f"--field-selector=involvedObject.name={name}"
        found = json.loads(self.run("get", "events", "-o", "json", selected))
        return [(event["reason"], event["message"]) for event in found["items"]]

    def versions(self, selector: str = "") -> dict[str, str]:
        return {
            f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for item in self.items(WORKLOADS, selector)
        }


@pytest.fixture
def kubectl(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    kubectl = Kubectl(cluster, name)
    kubectl.run("create", "namespace", name)
    yield kubectl
    kubectl.run("delete", "namespace", name, "--wait=false")


def waits_for(pod: dict[str, Any]) -> str:
    for status in pod["status"].get("containerStatuses") or ():
        reason: str = (status["state"].get("waiting") or {}).get("reason") or ""
        return reason
    phase: str = pod["status"]["phase"]
    return phase


def owners_differ(pods: list[dict[str, Any]]) -> bool:
    """Whether each Pod runs the image that its owner is called after."""
    return all(
        pod["metadata"]["ownerReferences"][0]["name"].partition("-")[0]
        == pod["spec"]["containers"][0]["image"].partition(":")[2]
        for pod in pods
    )


@pytest.mark.timeout(200)
def test_who_gave_bad_input_is_told_what_is_wrong_with_it(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "bad_input.yaml")
    for name, reason, event, text in PODS:

        def is_told(name: str = name, event: str = event, text: str = text) -> bool:
            return any(r == event and text in message for r, message in kubectl.events(name))

        until(is_told, f"{name}: {event} {text}", 40)

        def is_shown(name: str = name, reason: str = reason) -> bool:
            pods = {pod["metadata"]["name"]: pod for pod in kubectl.items("pods")}
            return not reason or waits_for(pods[name]) == reason

        until(is_shown, f"{name}: {reason}", 60)
    reasons = {reason for reason, _ in kubectl.events("no-volume")}
    assert not reasons & {"Pulling", "Pulled"}  # volumes come first
    # Nobody has a say in Pods of another with the same labels, and nothing is written at rest.
    twins = kubectl.items("pods", "app=twin")
    assert len(twins) == 4
    assert owners_differ(twins)
    before = kubectl.versions("app=twin")
    quiet = kubectl.versions()
    time.sleep(REST_S)
    assert kubectl.versions("app=twin") == before
    now = kubectl.versions()
    moved = {name for name, version in quiet.items() if now[name] != version}
    assert moved <= {f"Pod/{name}" for name, *_ in PODS}
    assert ("NoPods", "No matching pods found") in kubectl.events("nobody")


@pytest.mark.timeout(200)
def test_a_quota_that_is_exceeded_explains_itself(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "exceeded_quota.yaml")
    said = kubectl.run("rollout", "status", "deployment/too-many", "--timeout=60s", status=1)
    assert 'error: deployment "too-many" exceeded its progress deadline' in said
    (replica_set,) = kubectl.items("replicasets")
    events = kubectl.events(replica_set["metadata"]["name"])
    text = "is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2"
    assert any(reason == "FailedCreate" and text in message for reason, message in events)
    (deployment,) = kubectl.items("deployments")
    conditions = {
        condition["type"]: (condition["status"], condition["reason"])
        for condition in deployment["status"]["conditions"]
    }
    assert conditions["ReplicaFailure"] == ("True", "FailedCreate")
    assert conditions["Progressing"] == ("False", "ProgressDeadlineExceeded")
    # It tries again later each time, and goes on at once when there is room.
    before = kubectl.versions()
    time.sleep(REST_S)
    assert kubectl.versions() == before
    assert len(kubectl.events(replica_set["metadata"]["name"])) <= 20
    kubectl.run("patch", "resourcequota", "few", "-p", '{"spec":{"hard":{"pods":"3"}}}')
    ready = "--for=jsonpath={.status.readyReplicas}=3"
    kubectl.run("wait", ready, "deployment/too-many", "--timeout=90s")
