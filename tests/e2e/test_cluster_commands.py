"""`kubraft up`, `status`, `kill`, `start`, `down` and `clean`, and the errors they give."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kubraft.ports import LOOPBACK
from kubraft.supervisor.pid_file import find_running
from tests.e2e.cluster import Cluster, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    """A home in which nothing was started yet."""
    cluster = Cluster(tmp_path / "home")
    yield cluster
    cluster.end()


def test_status_is_what_scripts_rely_on(cluster: Cluster) -> None:
    status = cluster.status()
    assert [member["name"] for member in status["members"]] == ["store-0", "store-1", "store-2"]
    roles = sorted(member["role"] for member in status["members"])
    assert roles == ["follower", "follower", "leader"]
    assert len({member["term"] for member in status["members"]}) == 1
    for member in status["members"]:
        assert member["state"] == "running"
        assert psutil.pid_exists(member["pid"])
        assert member["applied_index"] > 0
        assert member["client_url"].startswith("https://127.0.0.1:")
        assert member["peer_url"].startswith("https://127.0.0.1:")
    assert {process["name"] for process in status["processes"]} == {
        "apiserver-0",
        "scheduler-0",
        "controller-manager-0",
        "proxy-0",
        "metrics-server-0",
        "dns-0",
        "cloud-controller-manager-0",
        "node-0",
        "node-1",
        "runtime-0",
        "runtime-1",
    }
    assert all(process["state"] == "running" for process in status["processes"])
    for key in ("kubeconfig", "token_file", "ca_file", "store_cert", "store_key"):
        assert Path(status[key]).is_file()
    assert status["rest"].startswith("https://127.0.0.1:")
    assert status["grpc"].startswith("127.0.0.1:")


def test_status_shows_who_is_down_and_goes_on(cluster: Cluster) -> None:
    cluster.kubraft("kill", "store-1")
    member = cluster.process("store-1")
    assert (member["state"], member["pid"], member["role"]) == ("killed", 0, None)
    assert "store-1" in cluster.kubraft("status")
    assert "ready after" in cluster.kubraft("start", "store-1")
    assert cluster.process("store-1")["role"] == "follower"


def test_members_that_are_all_down_are_started_in_any_order(cluster: Cluster) -> None:
    for number in range(3):
        cluster.kubraft("kill", f"store-{number}")
    assert "no quorum yet: 1 of 3 members run" in cluster.kubraft("start", "store-2")
    assert "ready after" in cluster.kubraft("start", "store-0")
    assert "ready after" in cluster.kubraft("start", "store-1")
    assert cluster.leader()


def test_up_twice_is_harmless(cluster: Cluster) -> None:
    before = cluster.status()
    assert "already running" in cluster.kubraft("up")
    after = cluster.status()
    assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["kill", "store-9"], "there are store-0, store-1", id="unknown name"),
        pytest.param(["start", "what"], "there are store-0, store-1", id="unknown name to start"),
        pytest.param(["up", "--members", "5"], "has 3 members, not 5: `make clean`", id="members"),
        pytest.param(["up", "--members", "4"], "MEMBERS=4: a quorum has 1, 3, 5", id="even"),
        pytest.param(["up", "--nodes", "3"], "already running with other NODES", id="nodes"),
        pytest.param(["clean"], "is running: `make down` first", id="clean while running"),
        pytest.param(["status", "-o", "xml"], "--output=xml: must be json", id="format"),
    ],
)
def test_what_cannot_be_is_one_line(cluster: Cluster, words: list[str], message: str) -> None:
    assert message in cluster.fails(*words)


@pytest.mark.parametrize("word", ["status", "down", "kill store-0", "start store-0"])
def test_without_a_cluster_the_line_says_how_to_get_one(empty: Cluster, word: str) -> None:
    line = empty.fails(*word.split())
    assert "no cluster" in line
    assert "make up" in line


def test_clean_without_a_cluster_is_harmless(empty: Cluster) -> None:
    assert "there is no" in empty.kubraft("clean")


def test_a_whole_life_of_a_small_cluster(empty: Cluster) -> None:
    output = empty.kubraft("up", "--members", "1", "--nodes", "0")
    assert "ready after" in output
    assert "Try next:" in output
    empty.kubraft(
        "apply",
        "-f",
        "-",
        stdin='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kept"}}',
    )

    # Down, and up again with the same data.
    assert "the data stays" in empty.kubraft("down")
    assert "not running" in empty.kubraft("down")
    assert empty.process("store-0")["state"] == "stopped"
    port = empty.home.get_cluster().members[0].client_port

    # A port that is taken is named, with who needs and who has it.
    with socket.socket() as other:
        other.bind((LOOPBACK, port))
        other.listen()
        line = empty.fails("up")
        assert f"port {port}, which store-0 needs, is taken by pid {os.getpid()}" in line
    empty.kubraft("up")
    assert "kept" in empty.kubraft("get", "namespaces")

    # The supervisor is killed: nothing stays behind, and the stale pid is no obstacle.
    pid = find_running(empty.home.pid_file)
    assert pid is not None
    left = empty.descendants()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(process.is_running() for process in left), "all processes gone")
    assert f"removed a stale supervisor.pid: pid {pid} is gone" in empty.kubraft("up")
    assert "kept" in empty.kubraft("get", "namespaces")

    # A data directory of another cluster is refused.
    empty.kubraft("down")
    mark = empty.home.data("store-0") / "cluster-token"
    token = mark.read_text()
    mark.write_text("feedfeedfeedfeed\n")
    assert "store-0 is of another cluster (feedfeedfeedfeed" in empty.fails("up")
    mark.write_text(token)

    # Clean removes everything.
    empty.kubraft("clean")
    assert not empty.home.path.exists()
