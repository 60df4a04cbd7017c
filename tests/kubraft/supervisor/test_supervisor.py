"""The supervisor with real, small processes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from kubraft.home import Home
from kubraft.supervisor.control import LINE_BYTES_MAX, ControlError
from kubraft.supervisor.daemon import DaemonError, command, start_daemon
from kubraft.supervisor.pid_file import find_running, remove_stale
from tests.kubraft.supervisor.conftest import STAND_IN, Cluster, is_gone, wait_for


def test_processes_run_and_log_to_private_files(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "b"})
    assert {entry["state"] for entry in cluster.status().values()} == {"running"}
    log = cluster.home.log("a")
    wait_for(lambda: "event=ready" in log.read_text())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(cluster.home.control_socket.stat().st_mode) == 0o600
    assert find_running(cluster.home.pid_file) == cluster.pid


def test_a_process_is_named_for_people_who_look_at_ps(cluster: Cluster) -> None:
    cluster.up({"name": "a"})
    line = Path(f"/proc/{cluster.pids()['a']}/cmdline")
    wait_for(lambda: line.read_text().startswith(f"kubraft a: {STAND_IN} serve"))


def test_a_process_that_is_killed_from_outside_comes_back(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "b"})
    before = cluster.pids()
    os.kill(before["a"], signal.SIGKILL)
    wait_for(lambda: cluster.pids()["a"] not in {0, before["a"]})
    after = cluster.status()
    assert after["a"]["restarts"] == 1
    assert after["a"]["exit"] == "SIGKILL"
    assert after["b"]["pid"] == before["b"]


def test_a_process_that_keeps_crashing_is_started_again_with_delays(cluster: Cluster) -> None:
    cluster.up({"name": "a", "arguments": ["crash"]})
    crashed = wait_for(lambda: cluster.status()["a"]["restarts"] >= 1 and cluster.status()["a"])
    assert crashed["exit"] == "status 3"
    assert crashed["state"] in {"crashed", "running"}


def test_what_is_killed_by_command_stays_down_until_it_is_started(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "b"})
    pid = cluster.pids()["a"]
    assert cluster.ask("kill", "a")["names"] == ["a"]
    assert is_gone(pid)
    assert cluster.status()["a"]["state"] == "killed"
    assert cluster.ask("kill", "a")["names"] == ["a"]
    assert cluster.ask("start", "a")["names"] == ["a"]
    assert cluster.status()["a"]["state"] == "running"
    assert cluster.status()["a"]["restarts"] == 0
    assert cluster.ask("start", "a")["names"] == []


def test_a_node_dies_as_a_machine_and_its_runtime_alone(cluster: Cluster) -> None:
    cluster.up(
        {"name": "runtime-0", "stage": "RUNTIME", "machine": "node-0"},
        {"name": "node-0", "machine": "node-0"},
    )
    assert cluster.ask("kill", "node-0")["names"] == ["node-0", "runtime-0"]
    assert {entry["state"] for entry in cluster.status().values()} == {"killed"}
    assert cluster.ask("start", "node-0")["names"] == ["runtime-0", "node-0"]
    assert cluster.ask("kill", "runtime-0")["names"] == ["runtime-0"]
    assert cluster.status()["node-0"]["state"] == "running"


@pytest.mark.parametrize("name", ["nonsense", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(cluster: Cluster, name: str) -> None:
    cluster.up({"name": "a"}, {"name": "b"})
    with pytest.raises(ControlError, match=r"no process is named .*: there are a, b"):
        cluster.ask("kill", name)


def test_down_stops_everything_and_forgets_the_pid(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "b", "stage": "STORE"})
    pids = [*cluster.pids().values(), cluster.pid, *(p.pid for p in cluster.descendants())]
    cluster.ask("down")
    wait_for(lambda: all(map(is_gone, pids)))
    assert find_running(cluster.home.pid_file) is None
    assert not cluster.home.pid_file.exists()
    with pytest.raises(DaemonError, match="no cluster is running"):
        cluster.ask("status")


def test_down_stops_in_reverse_order(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "s", "stage": "STORE"}, {"name": "r", "stage": "RUNTIME"})
    cluster.down()
    lines = cluster.home.log("supervisor").read_text().splitlines()
    ended = [line for line in lines if "event=ended" in line]
    assert [line.split("process=")[1][0] for line in ended] == ["a", "r", "s"]


def test_a_supervisor_that_is_killed_leaves_nothing_behind(cluster: Cluster) -> None:
    cluster.up({"name": "a"}, {"name": "b", "arguments": ["stubborn"]})
    pids = [process.pid for process in cluster.descendants()]
    assert len(pids) == 3  # with the zygote
    os.kill(cluster.pid, signal.SIGKILL)
    wait_for(lambda: all(map(is_gone, pids)))


def test_after_a_kill_the_stale_pid_file_is_cleaned_and_up_works(cluster: Cluster) -> None:
    cluster.up({"name": "a"})
    killed = cluster.pid
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: is_gone(killed))
    assert cluster.home.pid_file.exists()
    assert remove_stale(cluster.home.pid_file) == killed
    cluster.up()
    assert cluster.status()["a"]["state"] == "running"
    assert remove_stale(cluster.home.pid_file) is None


def test_what_a_dead_process_left_to_us_is_killed(cluster: Cluster) -> None:
    cluster.up({"name": "a", "arguments": ["family"]})
    log = cluster.home.log("a")
    wait_for(lambda: "event=ready" in log.read_text())
    grandchild = int(log.read_text().split("grandchild=")[1].split()[0])
    cluster.ask("kill", "a")
    wait_for(lambda: is_gone(grandchild))


def test_without_its_zygote_it_goes_on(cluster: Cluster) -> None:
    cluster.up({"name": "a"})
    before = cluster.pids()["a"]
    zygote = next(process.pid for process in cluster.descendants() if process.pid != before)
    os.kill(zygote, signal.SIGKILL)
    wait_for(lambda: is_gone(zygote))
    assert cluster.pids()["a"] == before
    cluster.ask("kill", "a")
    cluster.ask("start", "a")
    assert cluster.status()["a"]["state"] == "running"


def test_a_cluster_that_is_tied_to_a_process_ends_with_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        monkeypatch.setenv("KUBRAFT_UNTIL_PID", str(owner.pid))
        cluster.up({"name": "a"})
        pids = [cluster.pid, *cluster.pids().values()]
        owner.kill()
    wait_for(lambda: all(map(is_gone, pids)))


def test_two_supervisors_never_share_a_home(cluster: Cluster) -> None:
    cluster.up({"name": "a"})
    pid = cluster.pids()["a"]
    with pytest.raises(DaemonError, match="ended at once: one is already running in"):
        start_daemon(cluster.home)
    assert cluster.pids()["a"] == pid


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        pytest.param(b"{}\n", "no command None", id="no command"),
        pytest.param(b"[1]\n", "not a JSON object", id="no object"),
        pytest.param(b"what\n", "not a JSON object", id="no JSON"),
        pytest.param(b"x" * (LINE_BYTES_MAX + 2) + b"\n", "not a JSON object", id="too long"),
    ],
)
def test_the_control_socket_bears_nonsense(cluster: Cluster, line: bytes, answer: str) -> None:
    cluster.up({"name": "a"})
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(cluster.home.control_socket))
        client.sendall(line)
        assert answer in client.makefile().readline()
    assert cluster.status()["a"]["state"] == "running"


def test_commands_without_a_supervisor_say_so(cluster: Cluster) -> None:
    with pytest.raises(DaemonError, match="no cluster is running in .*: `make up` starts one"):
        command(Home(cluster.home.path), "status")
