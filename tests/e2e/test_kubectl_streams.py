"""kubectl's commands that hold a connection, over WebSocket, and over SPDY as older ones do."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.kubectl_table import STREAMS
from tests.e2e.terminal import Terminal, terminal

TIMEOUT_S = 90.0
SPDY = {
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
    "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
}
ECHO = """\
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: echo
    image: busybox
    stdin: true
    command: [sh, -c, "while read line; do echo got $line; done"]
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("cluster"),
]


class Kubectl:
    """One user's kubectl, in a namespace of its own."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        found = shutil.which("kubectl", path=cluster.environment["PATH"])
        assert found, "kubectl is not installed: `make tools` does that"
        self._executable = found
        self.folder = folder
        self.namespace = f"streams-{uuid.uuid4().hex[:8]}"
        self._environment = {
            "PATH": cluster.environment["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(cluster.home.kubeconfig),
        }

    def command(self, words: str) -> list[str]:
        return [self._executable, "-n", self.namespace, *shlex.split(words)]

    def environment(self, *, spdy: bool = False) -> dict[str, str]:
        return {**self._environment, **(SPDY if spdy else {})}

    def run(
        self, words: str, stdin: bytes | None = None, *, spdy: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(words),
            env=self.environment(spdy=spdy),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            cwd=self.folder,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ok(self, words: str, stdin: bytes | None = None, *, spdy: bool = False) -> bytes:
        done = self.run(words, stdin, spdy=spdy)
        assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-500:])
        return done.stdout

    @contextlib.contextmanager
    def serving(self, words: str, says: str, *, spdy: bool = False) -> Iterator[re.Match[str]]:
        """Run what goes on until it is told to end; yields what it `says` when it is ready."""
        process = subprocess.Popen(
            self.command(words),
            env=self.environment(spdy=spdy),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(says, line):
                    yield found
                    return
            raise AssertionError(f"{words}: ended, and never said {says}")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def typed(
        self, words: str, *, spdy: bool = False
    ) -> contextlib.AbstractContextManager[Terminal]:
        return terminal(self.command(words), self.environment(spdy=spdy))


@pytest.fixture
def kubectl(cluster: Cluster, tmp_path: Path) -> Iterator[Kubectl]:
    made = Kubectl(cluster, tmp_path)
    made.ok(f"create namespace {made.namespace}")
    made.ok("run streams --image=kubraft/web:v1 --port=8080 --labels=app=streams")
    made.ok("expose pod streams --port=80 --target-port=8080")
    made.ok("wait --for=condition=Ready pod/streams --timeout=60s")
    yield made
    made.run(f"delete namespace {made.namespace} --wait=false")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize("spdy", [False, True], ids=["websocket", "spdy"])
def test_streams(kubectl: Kubectl, *, spdy: bool) -> None:
    done = kubectl.run("exec streams -- sh -c 'echo out; echo err >&2; exit 3'", spdy=spdy)
    assert (done.returncode, done.stdout) == (3, b"out\n"), done.stderr
    assert done.stderr.startswith(b"err\ncommand terminated with exit code 3")
    much = os.urandom(3 << 20)
    assert kubectl.ok("exec -i streams -- cat", much, spdy=spdy) == much
    with kubectl.typed("exec -it streams -- sh", spdy=spdy) as screen:
        screen.type("stty size; tty; exit 5\n")
        screen.wait_for(r"33 99\r\n/dev/pts/\d+\r\n")
        assert screen.end() == 5
    (kubectl.folder / "sent").write_bytes(much)
    kubectl.ok("cp sent streams:/tmp/there", spdy=spdy)
    kubectl.ok("cp streams:/tmp/there back", spdy=spdy)
    assert (kubectl.folder / "back").read_bytes() == much
    said = r"Forwarding from (127.0.0.1:\d+) -> 8080"
    for words in ("port-forward pod/streams :8080", "port-forward service/streams :80"):
        with kubectl.serving(words, said, spdy=spdy) as found:
            for _ in range(3):
                assert "pod: streams" in fetch(f"http://{found[1]}/")


def test_attach_and_run(kubectl: Kubectl) -> None:
    kubectl.ok("apply -f -", ECHO.encode())
    kubectl.ok("wait --for=condition=Ready pod/echo --timeout=60s")
    with kubectl.typed("attach -i echo") as screen:
        screen.type("hello\n")
        screen.wait_for("got hello")
    words = "run -it once --rm --image=busybox --restart=Never -- sh"
    with kubectl.typed(words) as screen:
        screen.type("echo $((6*7)); exit 4\n")
        screen.wait_for(r"42\r\n")
        assert screen.end() == 4
    assert b"NotFound" in kubectl.run("get pod once").stderr


def test_debug(kubectl: Kubectl) -> None:
    with kubectl.typed("debug -it streams --image=busybox -c dbg -- sh") as screen:
        screen.type("echo $((6*7)); exit\n")
        screen.wait_for(r"42\r\n")
        assert screen.end() == 0
    kubectl.ok("debug streams --image=busybox -c more --attach=false -- sh -c 'echo it is seen'")
    # By name: an index that is not there yet ends `wait` at once.
    more = '{.status.ephemeralContainerStatuses[?(@.name=="more")].state.terminated.exitCode}'
    kubectl.ok(f"wait --for=jsonpath={shlex.quote(more)}=0 pod/streams --timeout=60s")
    assert kubectl.ok("logs streams -c more") == b"it is seen\n"
    words = "debug -it streams --copy-to=copied --image=busybox -c dbg -- sh"
    with kubectl.typed(words) as screen:
        screen.type("echo $((6*7)); exit\n")
        screen.wait_for(r"42\r\n")
        assert screen.end() == 0
    assert kubectl.ok("get pod copied -o jsonpath={.spec.containers[*].name}") == b"streams dbg"


def test_proxy(kubectl: Kubectl) -> None:
    place = f"/api/v1/namespaces/{kubectl.namespace}"
    with kubectl.serving("proxy --port=0", r"Starting to serve on (127.0.0.1:\d+)") as found:
        assert '"gitVersion"' in fetch(f"http://{found[1]}/version")
        for path in ("pods/streams", "pods/http:streams:8080", "services/streams:80"):
            assert "pod: streams" in fetch(f"http://{found[1]}{place}/{path}/proxy/")
    assert b"pod: streams" in kubectl.ok(f"get --raw {place}/services/streams:80/proxy/")
    assert kubectl.ok("get --raw /api/v1/nodes/node-0/proxy/healthz") == b"ok"


def test_pythons_clients(kubectl: Kubectl) -> None:
    story = str(Path(__file__).with_name("streams_story.py"))
    kubeconfig = kubectl.environment()["KUBECONFIG"]
    done = subprocess.run(
        [sys.executable, story, kubeconfig, kubectl.namespace, "streams"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_page_names_what_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [words for words in STREAMS if f'"{words}"' not in text] == []
