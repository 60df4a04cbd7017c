"""A whole cluster on containerd, by the real kubectl; and nothing of it is left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubraft.supervisor.runtime_specs import bridge, cgroup_root, has_remains
from tests.agents.runtime.containerd_process import require_containerd
from tests.e2e.cluster import COMMAND_TIMEOUT_S, ROOT, Cluster, until, web

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}
CLIENT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "client", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "python", "command": ["sleep", "10000"]}],
    },
}
FIND_NAME = """
import socket
try:
    print(socket.gethostbyname("web"))
except OSError as error:
    print(error)
"""
ASK_API = """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
tls = ssl.create_default_context(cafile=folder + "ca.crt")
host = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
token = {"Authorization": "Bearer " + open(folder + "token").read()}
request = urllib.request.Request(f"https://{host}/version", headers=token)
print(urllib.request.urlopen(request, context=tls, timeout=10).read().decode())
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    require_containerd()
    cluster = Cluster(tmp_path / "home")
    try:
        cluster.kubraft("up", "--runtime", "containerd", "--members", "1")
        yield cluster
    finally:
        cluster.end()


def kubectl(cluster: Cluster, *words: str, given: str = "") -> str:
    program = shutil.which("kubectl", path=cluster.environment["PATH"])
    assert program, "kubectl is not installed: `make tools` does that"
    done = subprocess.run(
        [program, f"--kubeconfig={cluster.home.kubeconfig}", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def in_client(cluster: Cluster, program: str) -> str:
    return kubectl(cluster, "exec", "client", "--", "python3", "-c", program)


def fetch(address: str, port: int) -> str:
    url = f"http://{address}:{port}/"
    return f"import urllib.request as u; print(u.urlopen({url!r}, timeout=10).read().decode())"


def test_a_cluster_on_containerd_from_up_to_down(cluster: Cluster) -> None:
    for obj in (web("web", "default", replicas=3), SERVICE, CLIENT):
        kubectl(cluster, "apply", "-f", "-", given=json.dumps(obj))
    kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=90s")
    kubectl(cluster, "wait", "--for=condition=ready", "pod/client", "--timeout=90s")
    nodes = kubectl(cluster, "get", "nodes", "-o", "wide")
    assert nodes.count("containerd://") == 2

    # Pods of both nodes reach each other, Services and the API server, as those are reached here.
    pods = json.loads(kubectl(cluster, "get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0", "node-1"}
    for pod in pods:
        answer = in_client(cluster, fetch(pod["status"]["podIP"], 8080))
        assert f"pod: {pod['metadata']['name']}\n" in answer
    address = kubectl(cluster, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    until(lambda: "version: v1" in in_client(cluster, fetch(address, 80)), "the Service answers")
    assert '"v1.37' in in_client(cluster, ASK_API)

    until(lambda: in_client(cluster, FIND_NAME).strip() == address, "the Service has a name", 60)

    archive = cluster.home.path.parent / "tool.tar"
    make = [sys.executable, "-m", "scripts.make_image", "example.com/tool:v1", str(archive)]
    subprocess.run(make, cwd=ROOT, check=True, timeout=COMMAND_TIMEOUT_S)
    cluster.kubraft("images", "import", str(archive))
    assert cluster.kubraft("images", "list").count("example.com/tool:v1\t") == 2
    kubectl(
        cluster,
        *("run", "tool", "--image=example.com/tool:v1", "--image-pull-policy=Never"),
        *("--restart=Never", "--", "sh", "-c", "echo imported"),
    )
    finished = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl(cluster, "wait", finished, "pod/tool", "--timeout=90s")
    assert kubectl(cluster, "logs", "tool") == "imported\n"

    kubectl(cluster, "set", "image", "deployment/web", "web=kubraft/web:v2")
    kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=90s")
    assert "version: v2" in in_client(cluster, fetch(address, 80))
    assert kubectl(cluster, "exec", "-i", "client", "--", "cat", given="typed") == "typed"
    assert "listening on" in kubectl(cluster, "logs", "deployment/web")

    cluster.kubraft("kill", "node-1")
    cluster.kubraft("start", "node-1")
    until(lambda: _ready(cluster) == 3, "the Pods are ready again", 90)

    config = cluster.home.get_cluster()
    cluster.kubraft("kill", "node-0")
    assert has_remains(config, config.nodes[0])
    cluster.kubraft("down")
    for node in config.nodes:
        assert not Path("/sys/class/net", bridge(config, node)).exists()
        assert not list(Path("/sys/fs/cgroup").glob(f"*{cgroup_root(config, node)}"))
        assert not has_remains(config, node)
    assert str(cluster.home.path) not in Path("/proc/mounts").read_text()
    routes = subprocess.run(
        ["ip", "route", "show", "table", "local"], capture_output=True, text=True, check=True
    ).stdout
    assert config.service_network not in routes


def _ready(cluster: Cluster) -> int:
    found = kubectl(cluster, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
    return int(found or 0)
