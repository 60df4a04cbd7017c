"""`kubraft apply`, `get`, `logs`, `rollout` and the rest on a whole cluster, as people use them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import ROOT, Cluster, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: kubraft/web:v1
        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
"""


class Shop:
    """A namespace of the cluster, and the command line in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def kubraft(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubraft(*words, "-n", self.namespace, stdin=stdin)

    def fails(self, *words: str) -> str:
        done = self.cluster.run(*words, "-n", self.namespace)
        assert done.returncode == 1, done
        return done.stderr

    def deploy(self, manifest: str = DEPLOYMENT) -> None:
        self.kubraft("apply", "-f", "-", stdin=manifest)
        done = self.kubraft("rollout", "status", "deploy/web", "--timeout", "60s")
        assert done.endswith('deployment "web" successfully rolled out\n')

    def pods(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            self.kubraft("get", "pods", "-l", "app=web", "-o", "json")
        )["items"]
        return found


@pytest.fixture
def shop(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Shop]:
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:50].strip("-")
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    cluster.kubraft("apply", "-f", "-", stdin=namespace)
    yield Shop(cluster, name)
    cluster.kubraft("delete", "ns", name, "--no-wait")


def test_a_rollout_is_followed_listed_and_undone(shop: Shop) -> None:
    shop.deploy()
    shop.deploy(DEPLOYMENT.replace("web:v1", "web:v2"))
    history = shop.kubraft("rollout", "history", "deploy/web").splitlines()[2:]
    assert [line.split() for line in history] == [["1", "<none>"], ["2", "<none>"]]
    assert "kubraft/web:v1" in shop.kubraft("rollout", "history", "deploy/web", "--revision", "1")
    undone = shop.kubraft("rollout", "undo", "deploy/web")
    assert undone == "deployment.apps/web rolled back\n"
    shop.kubraft("rollout", "status", "deploy/web", "--timeout", "60s")
    assert "kubraft/web:v1" in shop.kubraft("get", "deploy", "web", "-o", "wide")
    again = shop.kubraft("rollout", "undo", "deploy/web", "--to-revision", "3")
    assert "skipped rollback (current template already matches revision 3)" in again
    assert "unable to find specified revision 9" in shop.fails(
        "rollout", "undo", "deploy/web", "--to-revision", "9"
    )


def test_a_pod_shows_its_table_its_story_and_its_logs(shop: Shop) -> None:
    shop.deploy()
    lines = shop.kubraft("get", "pods").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert len(lines) == 3
    assert all(line.split()[1:4] == ["1/1", "Running", "0"] for line in lines[1:])
    name = lines[1].split()[0]
    page = shop.kubraft("describe", "pod", name)
    assert re.search(r"Node: +node-\d/127\.0\.0\.1", page)
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert re.search(rf"Normal +{reason} ", page)
    assert "listening on" in shop.kubraft("logs", name)
    tail = shop.kubraft("logs", "deploy/web", "--prefix", "--tail", "1")
    assert re.fullmatch(r"\[pod/web-\w+-\w+/web\] .+\n", tail)
    assert shop.fails("logs", name, "-c", "none") == (
        f"error: container none is not valid for pod {name}\n"
    )
    assert name in shop.kubraft("events", "--for", f"pod/{name}")


def test_logs_are_followed_until_the_pod_is_gone(shop: Shop) -> None:
    shop.deploy()
    name = str(shop.pods()[0]["metadata"]["name"])  # type: ignore[index]
    following = subprocess.Popen(
        [sys.executable, "-c", "from kubraft.cli import main; main()",
         "logs", "-f", name, "-n", shop.namespace],
        env=shop.cluster.environment, cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert following.stdout is not None
        assert "listening on" in following.stdout.readline()
        shop.kubraft("delete", "pod", name, "--now")
        following.wait(timeout=20)
    finally:
        following.kill()
        following.communicate()


def test_scaling_to_zero_and_deleting_leave_nothing(shop: Shop) -> None:
    shop.deploy()
    shop.kubraft("scale", "deploy/web", "--replicas", "0")
    until(lambda: not shop.pods(), "no Pods")
    shop.kubraft("scale", "deploy/web", "--replicas", "1")
    shop.kubraft("rollout", "status", "deploy/web", "--timeout", "60s")
    gone = shop.kubraft("delete", "deploy", "web", "--cascade", "foreground", "--timeout", "60s")
    assert gone == f'deployment.apps "web" deleted from {shop.namespace} namespace\n'
    assert shop.kubraft("get", "deploy,rs,pods") == ""


def test_a_pods_own_token_may_do_what_is_granted_and_nothing_else(shop: Shop) -> None:
    shop.deploy()
    uid = shop.pods()[0]["metadata"]["uid"]  # type: ignore[index]
    (token_file, *_) = shop.cluster.home.path.glob(f"data/*/pods/{uid}/volumes/**/token")
    token = token_file.read_text()
    account = f"system:serviceaccount:{shop.namespace}:default"
    assert shop.fails("get", "pods", "--token", token) == (
        f'Error from server (Forbidden): pods is forbidden: User "{account}" cannot list resource '
        f'"pods" in API group "" in the namespace "{shop.namespace}"\n'
    )
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "viewers"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": "default", "namespace": shop.namespace}
        ],
    }  # fmt: skip
    shop.kubraft("apply", "-f", "-", stdin=json.dumps(binding))
    assert "Running" in shop.kubraft("get", "pods", "--token", token)
    assert "(Forbidden)" in shop.fails("get", "secrets", "--token", token)
    assert "(Forbidden)" in shop.fails("scale", "deploy/web", "--replicas=9", "--token", token)
    forged = token[:-10] + "AAAAAAAAAA"
    assert "Unauthorized" in shop.fails("get", "pods", "--token", forged)
    shop.kubraft("delete", "deploy", "web")
    until(
        lambda: "Unauthorized" in shop.cluster.run("get", "ns", "--token", token).stderr,
        "the token ends with its Pod",
    )


def test_a_quota_holds_and_gives_back(shop: Shop) -> None:
    quota = 'apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {pods: "2"}}\n'
    shop.kubraft("apply", "-f", "-", stdin=quota)
    shop.deploy()
    shop.kubraft("scale", "deploy/web", "--replicas", "4")
    until(lambda: "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in
          shop.kubraft("events"), "the refusal as an Event")  # fmt: skip
    assert len(shop.pods()) == 2
    assert "pods: 2/2" in shop.kubraft("get", "quota")
    shop.kubraft("scale", "deploy/web", "--replicas", "1")
    until(lambda: "pods: 1/2" in shop.kubraft("get", "quota"), "one place given back")
