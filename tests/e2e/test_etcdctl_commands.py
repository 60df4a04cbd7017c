"""The whole command set of etcdctl 3.4 and 3.5: what it prints with our member and with etcd.

docs/etcd-compatibility.md has the table; a test here holds it to what was tried.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.test_documents import table
from tests.e2e.etcdctl_rows import OTHERS, ROWS, Row, Step
from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("etcdctl commands")]

CLIENTS = {"3.4": TOOLS / "etcdctl-3.4", "3.5": TOOLS / "etcdctl"}
RUN_S = 120.0
CASES = [
    pytest.param(
        version,
        row,
        id=f"{row.command} {version}",
        marks=[pytest.mark.timeout(4 * RUN_S)] if row.by_hand else [],
    )
    for row in ROWS
    for version in row.versions
    if not row.by_hand or os.environ.get("ETCDCTL_ALL")
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreCluster, ...]]:
    """etcd and ours, asked the same things in the same order."""
    directory = tmp_path_factory.mktemp("commands")
    flags = ("--bcrypt-cost=4",)
    with (
        StoreCluster(directory / "e", members=1, tls=False, etcd=True, flags=flags) as etcd,
        StoreCluster(directory / "k", members=1, tls=False, flags=flags) as ours,
    ):
        for server in (etcd, ours):
            server.start()
        for server in (etcd, ours):
            server.wait_ready()
        yield etcd, ours


class Session:
    """Runs the steps of a row with one client at one server."""

    def __init__(self, client: Path, server: StoreCluster, directory: Path) -> None:
        self._client = client
        self._server = server
        self._directory = directory
        self._kept = ""

    def play(self, step: Step) -> str:
        """What was printed and how it ended, without what no two servers have in common."""
        arguments = [self._fill(argument) for argument in step.arguments]
        if step.until or step.until_key:
            return self._live(step, arguments)
        done = subprocess.run(
            [str(self._client), *arguments],
            env=self._environment(step),
            input=step.stdin,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert (done.returncode != 0) == step.fails, done.stdout + done.stderr
        if step.keep:
            found = re.search(step.keep, done.stdout)
            assert found, done.stdout
            self._kept = found[1]
        return f"{self._plain(done.stdout + _sentence(done.stderr), step)}= {done.returncode}"

    def revoke_leases(self) -> None:
        for lease in self._server.etcdctl("lease", "list").stdout.split()[3:]:
            self._server.etcdctl("lease", "revoke", lease)

    def _fill(self, argument: str) -> str:
        values = {"{}": self._kept, "{url}": self._server.client_url("store-0")}
        values |= {"{directory}": str(self._directory), "{version}": self._client.name}
        values["{v}"] = "34" if "3.4" in self._client.name else "35"
        for name, value in values.items():
            argument = argument.replace(name, value)
        return argument

    def _environment(self, step: Step) -> dict[str, str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL")}
        url = self._server.client_url("store-0")
        # Patience for slow machines: five seconds are the default.
        patience = {"ETCDCTL_COMMAND_TIMEOUT": "60s", "ETCDCTL_DIAL_TIMEOUT": "20s"}
        endpoints = {"ETCDCTL_ENDPOINTS": url, **patience}
        if step.api == "2":
            endpoints = {"ETCDCTL_ENDPOINT": url}
        return {**known, "ETCDCTL_API": step.api, **endpoints}

    def _live(self, step: Step, arguments: list[str]) -> str:
        """Start it, wait for what it is to do, and end it."""
        out = self._directory / f"out-{time.monotonic_ns()}"
        with out.open("wb") as file:
            process = subprocess.Popen(
                [str(self._client), *arguments],
                env=self._environment(step),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        try:
            assert process.stdin is not None
            process.stdin.write(self._fill(step.stdin).encode())
            process.stdin.flush()
            wait_until(lambda: self._is_reached(step, out.read_text()), str(step.arguments))
        finally:
            process.kill()
            process.wait(10)
            assert process.stdin is not None
            process.stdin.close()
        return self._plain(out.read_text(), step)

    def _is_reached(self, step: Step, printed: str) -> bool:
        if not step.until_key:
            return step.until in printed
        return bool(self._server.etcdctl("get", self._fill(step.until_key)).stdout)

    def _plain(self, printed: str, step: Step) -> str:
        printed = printed.replace(self._server.client_url("store-0"), "URL")
        printed = printed.replace(self._server.peer_url("store-0"), "PEER")
        printed = printed.replace(str(self._directory), "DIRECTORY")
        printed = re.sub(r'"(cluster_id|member_id|raft_term)":\d+', r'"\1":N', printed)
        printed = re.sub(r'"(ClusterID|MemberID|RaftTerm)" : \d+', r'"\1" : N', printed)
        if self._kept:
            # Ids are padded to the longest.
            printed = re.sub(f" *{self._kept}", " KEPT", printed)
        # Members come in the order of their ids.
        printed = re.sub(
            '(?<=CLUSTER=").*(?=")', lambda m: ",".join(sorted(m[0].split(","))), printed
        )
        printed = re.sub(r" *\b[0-9a-f]{12,16}\b", " ID", printed)
        if step.verdicts:
            printed = " ".join(re.findall("(?:PASS|FAIL)[^\n]*", printed))
        if step.words:
            printed = re.sub(r"[0-9.]+(kB|KB|MB|ms|µs|s|m)?\b|\b(kB|KB|MB|ID)\b", " ", printed)
            return " ".join(re.sub(r"[^A-Za-z:{}\" ]", " ", printed).split())
        return printed


def _sentence(stderr: str) -> str:
    """The error itself: clients log in front of it, with times."""
    lines = [line for line in stderr.splitlines() if not line.startswith("{")]
    return "\n".join(lines) + "\n" if lines else ""


@pytest.mark.parametrize(("version", "row"), CASES)
def test_a_command_prints_the_same(
    servers: tuple[StoreCluster, ...], version: str, row: Row, tmp_path: Path
) -> None:
    client = CLIENTS[version]
    if not client.exists():
        pytest.skip(f"{client} is not here: scripts/etcdctl34.sh brings it")
    sessions = []
    for name, server in zip(("etcd", "ours"), servers, strict=True):
        directory = tmp_path / name
        directory.mkdir()
        sessions.append(Session(client, server, directory))
    try:
        for step in row.steps:
            etcd, ours = (session.play(step) for session in sessions)
            assert ours == etcd, step
    finally:
        # Or the keys of locks that were left end in the midst of another row.
        for session in sessions:
            session.revoke_leases()


def test_the_document_lists_every_command() -> None:
    """What works is what was compared above; the rest says why it does not."""
    listed = {cells[0].strip("`"): cells[1:] for cells in table("etcdctl, command by command")}
    assert set(listed) == {row.command for row in ROWS} | set(OTHERS)
    for row in ROWS:
        works = ["works" if version in row.versions else "-" for version in ("3.4", "3.5")]
        assert listed[row.command][:2] == works, row.command
    for command, why in OTHERS.items():
        assert listed[command][2] == why
