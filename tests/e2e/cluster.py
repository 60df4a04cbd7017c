"""A whole cluster of real processes for tests, in a home of its own with ports of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from kubraft.api.errors import ApiError
from kubraft.api.gvk import DEPLOYMENT, NAMESPACE, POD
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_pod_ready
from kubraft.client.client import ApiClient
from kubraft.home import Home
from kubraft.supervisor.pid_file import find_running

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
COMMAND_TIMEOUT_S = 100.0

T = TypeVar("T")


class Cluster:
    """Driven as a user does it, by the `kubraft` command."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "KUBRAFT_HOME": str(home),
            "KUBRAFT_PORTS": "auto",
            "KUBRAFT_UNTIL_PID": str(os.getpid()),
            "PATH": path,
        }

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`kubraft WORDS`, whatever its status."""
        return subprocess.run(
            [sys.executable, "-c", "from kubraft.cli import main; main()", *words],
            env=self.environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def kubraft(self, *words: str, stdin: str = "") -> str:
        """What `kubraft WORDS` writes; it must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubraft {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *words: str) -> str:
        """The one line that `kubraft WORDS` writes to standard error; its status must be 1."""
        done = self.run(*words)
        assert done.returncode == 1, done
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubraft("status", "-o", "json"))
        return found

    def process(self, name: str) -> dict[str, Any]:
        status = self.status()
        views = [*status["members"], *status["processes"]]
        return next(view for view in views if view["name"] == name)

    def leader(self) -> str:
        return next(str(m["name"]) for m in self.status()["members"] if m["role"] == "leader")

    def sigkill(self, name: str) -> int:
        """Kill a process behind the supervisor's back; its pid."""
        pid = int(self.process(name)["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def descendants(self) -> list[psutil.Process]:
        pid = find_running(self.home.pid_file)
        return psutil.Process(pid).children(recursive=True) if pid else []

    def etcdctl(self, *words: str, member: str = "store-0") -> str:
        """What the real etcdctl writes, asked of one member."""
        found = shutil.which("etcdctl", path=self.environment["PATH"])
        assert found, "etcdctl is not installed: `make tools` does that"
        pki = self.home.pki
        url = next(m.client_url for m in self.home.get_cluster().members if m.name == member)
        flags = [
            f"--endpoints={url}",
            f"--cacert={pki}/ca.crt",
            f"--cert={pki}/store-client.crt",
            f"--key={pki}/store-client.key",
        ]
        return subprocess.run(
            [found, *flags, *words], check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def client(self) -> ApiClient:
        """As the administrator; the caller closes it."""
        return ApiClient(
            self.home.get_cluster().grpc,
            ca_file=self.home.pki / "ca.crt",
            token=self.home.token_file.read_text().strip(),
        )

    def ensure_up(self) -> None:
        """Everything runs, whatever a test before has done."""
        self.kubraft("up")
        status = self.status()
        for view in [*status["members"], *status["processes"]]:
            if view["state"] != "running":
                self.kubraft("start", view["name"])

    def end(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.kubraft("down")
        if (pid := find_running(self.home.pid_file)) is not None:
            os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], T], what: str = "", timeout_s: float = 30.0) -> T:
    """What `condition` gives once it is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what or condition}"
        time.sleep(0.05)
    return value


async def until_async(
    condition: Callable[[], Awaitable[T]], what: str = "", timeout_s: float = 30.0
) -> T:
    """What `condition` gives once it is true; an API that does not answer is not yet true."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(ApiError):
            if value := await condition():
                return value
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what or condition}"
        await asyncio.sleep(0.05)


def web(
    name: str, namespace: str, *, replicas: int, version: str = "v1", lame_duck_s: float = 1
) -> Object:
    """A Deployment of the built-in web server, which serves on for `lame_duck_s` at its end."""
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    container = {
        "name": "web",
        "image": f"kubraft/web:{version}",
        "readinessProbe": probe,
        "env": [{"name": "KUBRAFT_WEB_LAME_DUCK_S", "value": str(lame_duck_s)}],
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


class Workload:
    """A Deployment of kubraft/web in a Namespace of its own."""

    def __init__(self, client: ApiClient, name: str) -> None:
        self.client = client
        self.name = name

    async def create(self, replicas: int, *, lame_duck_s: float = 1) -> None:
        metadata = {"name": self.name}
        await self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        await self.client.create(
            web(self.name, self.name, replicas=replicas, lame_duck_s=lame_duck_s)
        )
        await self.until_ready(replicas)

    async def scale(self, replicas: int) -> None:
        await self.client.patch(DEPLOYMENT, self.name, {"spec": {"replicas": replicas}}, self.name)

    async def pods(self) -> list[Object]:
        """Those that are ready and not on their way out."""
        listed = await self.client.list(POD, self.name)
        return [pod for pod in listed.items if is_pod_ready(pod) and not is_terminating(pod)]

    async def until_ready(self, count: int, timeout_s: float = 30.0) -> list[Object]:
        async def exactly() -> list[Object] | None:
            pods = await self.pods()
            return pods if len(pods) == count else None

        found = await until_async(exactly, f"{count} ready Pods", timeout_s)
        assert found is not None
        return found

    async def delete(self) -> None:
        with contextlib.suppress(ApiError):
            await self.client.delete(NAMESPACE, self.name)
