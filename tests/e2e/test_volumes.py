"""Storage as a user of kubectl sees it: data outlives Pods, claims outlive nobody's mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster

TIMEOUT_S = 90.0
DATABASE = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "echo $HOSTNAME >> /data/starts; exec sleep 1000"]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 10Mi}}
"""
USER = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "COMMAND; exec sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    SOURCE
"""
SCRATCH = """\
ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(200),
    pytest.mark.xdist_group("cluster"),
]


class User:
    """Somebody with kubectl and a namespace."""

    def __init__(self, cluster: Cluster) -> None:
        found = shutil.which("kubectl", path=cluster.environment["PATH"])
        assert found, "kubectl is not installed: `make tools` does that"
        self.cluster = cluster
        self.namespace = f"volumes-{uuid.uuid4().hex[:8]}"
        self._kubectl = [found, f"--kubeconfig={cluster.home.kubeconfig}", "-n", self.namespace]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._kubectl, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ok(self, *words: str, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, manifest: str) -> None:
        self.ok("apply", "-f", "-", stdin=manifest)

    def get(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("get", *words, "-o", "json"))
        return found

    def until(self, text: str, *words: str) -> str:
        """What `kubectl WORDS` writes, once it has `text`."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in (done := self.run(*words)).stdout:
            assert time.monotonic() < deadline, f"no {text!r}: {done.stdout}{done.stderr}"
            time.sleep(0.1)
        return done.stdout

    def until_gone(self, kind: str, name: str) -> None:
        self.ok("wait", "--for=delete", f"{kind}/{name}", f"--timeout={TIMEOUT_S:g}s")

    def ready(self, pod: str) -> None:
        self.ok("wait", "--for=condition=Ready", f"pod/{pod}", f"--timeout={TIMEOUT_S:g}s")

    def pod(self, name: str, source: str, command: str = "true") -> None:
        text = USER.replace("NAME", name).replace("COMMAND", command)
        self.apply(text.replace("SOURCE", source))

    def directory(self, volume: dict[str, Any]) -> Path:
        """Where a local volume's data is."""
        node = str(volume["metadata"]["labels"]["kubraft.io/node"])
        handle = str(volume["spec"]["csi"]["volumeHandle"])
        return self.cluster.home.data(node) / "local-volumes" / handle


@pytest.fixture
def user(session_cluster: Cluster) -> Iterator[User]:
    made = User(session_cluster)
    made.ok("create", "namespace", made.namespace)
    yield made
    made.run("delete", "namespace", made.namespace, "--wait=false")


def test_the_data_of_a_stateful_set_stays(user: User) -> None:
    assert "standard (default)" in user.ok("get", "storageclass")
    user.apply(DATABASE)
    user.ok("rollout", "status", "sts/db", f"--timeout={TIMEOUT_S:g}s")
    node = user.get("pod", "db-0")["spec"]["nodeName"]

    user.ok("delete", "pod", "db-0")
    user.until("db-0\ndb-0\n", "exec", "db-0", "--", "cat", "/data/starts")
    assert user.get("pod", "db-0")["spec"]["nodeName"] == node, "its data is there"

    user.ok("scale", "sts/db", "--replicas=1")
    user.until_gone("pod", "db-1")
    assert user.get("pvc", "data-db-1")["status"]["phase"] == "Bound"
    user.ok("scale", "sts/db", "--replicas=2")
    user.until("db-1\ndb-1\n", "exec", "db-1", "--", "cat", "/data/starts")

    user.cluster.sigkill(node)  # the agent; it comes back and finds its Pod
    user.until("db-0\n", "exec", "db-0", "--", "cat", "/data/starts")
    user.ready("db-0")

    user.ok("delete", "pvc", "data-db-0", "--wait=false")
    user.until("Terminating", "get", "pvc", "data-db-0")
    user.ok("delete", "sts", "db")
    user.until_gone("pvc", "data-db-0")
    assert user.get("pvc", "data-db-1")["status"]["phase"] == "Bound", "claims outlive their set"


def test_a_claim_and_its_volume_from_first_to_last(user: User) -> None:
    user.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n"
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n"
    )
    user.until("WaitForFirstConsumer", "get", "events")
    user.pod("writer", "persistentVolumeClaim: {claimName: data}", "echo kept > /data/file")
    user.ready("writer")
    claim = user.get("pvc", "data")
    assert claim["status"] == {
        "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"}
    }  # fmt: skip
    name = claim["spec"]["volumeName"]
    volume = user.get("pv", name)
    directory = user.directory(volume)
    assert (directory / "file").read_text() == "kept\n"
    user.until("ProvisioningSucceeded", "get", "events")

    # In use, it stays until its last Pod is gone; then all of it goes.
    user.ok("delete", "pvc", "data", "--wait=false")
    user.ok("exec", "writer", "--", "cat", "/data/file")
    user.pod("late", "persistentVolumeClaim: {claimName: data}")
    user.until('persistentvolumeclaim "data" is being deleted', "describe", "pod", "late")
    user.ok("delete", "pod", "writer", "late")
    user.until_gone("pvc", "data")
    user.until_gone("pv", name)
    assert not directory.exists()


def test_a_retained_volume_keeps_its_data(user: User) -> None:
    user.pod("writer", SCRATCH.strip(), "echo kept > /data/file")
    user.ready("writer")
    claim = user.get("pvc", "writer-data")
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    name = claim["spec"]["volumeName"]
    user.ok("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    user.ok("delete", "pod", "writer")
    user.until_gone("pvc", "writer-data")
    user.until("Released", "get", "pv", name)
    directory = user.directory(user.get("pv", name))
    user.ok("delete", "pv", name)
    assert (directory / "file").read_text() == "kept\n", "the volume was deleted, not its data"
    shutil.rmtree(directory)


def test_volumes_of_an_administrator(user: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    user.apply(
        f"""\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {user.namespace}, labels: {{of: {user.namespace}}}}}
spec:
  capacity: {{storage: 5Gi}}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  local: {{path: {tmp_path}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node-1]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  selector: {{matchLabels: {{of: {user.namespace}}}}}
  resources: {{requests: {{storage: 1Gi}}}}
"""
    )
    user.pod("reader", "persistentVolumeClaim: {claimName: data, readOnly: true}")
    user.ready("reader")
    assert user.get("pod", "reader")["spec"]["nodeName"] == "node-1"
    assert user.ok("exec", "reader", "--", "cat", "/data/file") == "mine\n"
    assert "Read-only" in user.run("exec", "reader", "--", "touch", "/data/x").stderr
    user.ok("delete", "pod", "reader")
    user.ok("delete", "pvc", "data")
    user.until("Released", "get", "pv", user.namespace)
    user.ok("delete", "pv", user.namespace)
    assert (tmp_path / "file").exists()


def test_what_is_missing_is_said_and_taken_when_it_comes(user: User) -> None:
    user.pod("late", "configMap: {name: settings}")
    text = 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'
    user.until(text, "describe", "pod", "late")
    user.ok("create", "configmap", "settings", "--from-literal=a=1")
    user.ready("late")
    assert user.ok("exec", "late", "--", "cat", "/data/a") == "1"
    assert user.run("exec", "late", "--", "touch", "/data/b").returncode != 0

    user.pod("never", "persistentVolumeClaim: {claimName: none}")
    user.until('persistentvolumeclaim "none" not found', "describe", "pod", "never")
    user.pod("wrong", "hostPath: {path: /etc/hostname, type: Directory}")
    text = "hostPath type check failed: /etc/hostname is not a directory"
    user.until(text, "describe", "pod", "wrong")
