"""Operated like etcd: what harnesses do, what operators do when a cluster is lost."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubraft.pki import make_pki
from tests.e2e.store_cluster import ROOT, TOOLS, StoreCluster, wait_until
from tests.harness.ports import free_port

pytestmark = pytest.mark.e2e


@contextmanager
def spawned(
    directory: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A member in `directory`, started as a harness starts etcd."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "store", *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def wait_for_line(directory: Path, process: subprocess.Popen[bytes], line: str) -> str:
    def is_there() -> bool:
        assert process.poll() is None, (directory / "log").read_text()
        return line in (directory / "log").read_text()

    wait_until(is_there, line)
    return (directory / "log").read_text()


def etcdctl(url: str, *arguments: str) -> str:
    return subprocess.run(
        [str(TOOLS / "etcdctl"), f"--endpoints={url}", *arguments],
        env={**os.environ, "ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def health(url: str) -> object:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return json.loads(answer.read())["health"]
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_harness_that_waits_for_a_line_finds_it(tmp_path: Path, number: signal.Signals) -> None:
    """Ports that the system chooses, one line to wait for, a signal to end it."""
    with spawned(
        tmp_path,
        *("--data-dir", "data", "--listen-client-urls", "http://127.0.0.1:0"),
        *("--advertise-client-urls", "http://127.0.0.1:0", "-listen-peer-urls=http://127.0.0.1:0"),
    ) as process:
        text = wait_for_line(tmp_path, process, "ready to serve client requests")
        chosen = re.search(r"url=http://127\.0\.0\.1:0 port=(\d+)", text)
        assert chosen is not None
        assert etcdctl(f"http://127.0.0.1:{chosen[1]}", "put", "key", "value") == "OK\n"
        process.send_signal(number)
        assert process.wait(20) == -number


def test_a_harness_that_asks_for_help_and_polls_health_gets_both(tmp_path: Path) -> None:
    """As the test environments of Kubernetes and its controllers do."""
    shown = subprocess.run(
        [sys.executable, "-m", "store", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--unsafe-no-fsync" in shown.stdout
    url = f"http://127.0.0.1:{free_port()}"
    with spawned(
        tmp_path,
        f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://localhost:0",
        "--unsafe-no-fsync=true",
        "--log-level=warn",
        "--quota-backend-bytes=8589934592",
    ) as process:
        wait_until(lambda: process.poll() is not None or health(url) == "true", "health")
        assert etcdctl(url, "put", "key", "value") == "OK\n"
        log = (tmp_path / "log").read_text()
        assert "unsafe-no-fsync" in log
        assert "level=info" not in log


def test_variables_and_a_file_do_as_well_as_flags(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with spawned(
        tmp_path,
        ETCD_NAME="v",
        ETCD_LISTEN_CLIENT_URLS=url,
        ETCD_ADVERTISE_CLIENT_URLS=url,
        ETCD_LISTEN_PEER_URLS="http://127.0.0.1:0",
    ) as process:
        wait_for_line(tmp_path, process, "ready to serve client requests")
        etcdctl(url, "put", "key", "value")
    assert (tmp_path / "v.etcd").is_dir()
    (tmp_path / "etcd.yml").write_text(
        f"name: v\nlisten-client-urls: {url}\nadvertise-client-urls: {url}\n"
        "listen-peer-urls: http://127.0.0.1:0\nunknown:\n"
    )
    with spawned(tmp_path, "--config-file", "etcd.yml") as process:
        assert process.wait(20) == 1
    assert "unknown key 'unknown'" in (tmp_path / "log").read_text()
    (tmp_path / "etcd.yml").write_text(
        (tmp_path / "etcd.yml").read_text().removesuffix("unknown:\n")
    )
    with spawned(tmp_path, "--config-file", "etcd.yml") as process:
        wait_for_line(tmp_path, process, "ready to serve client requests")
        assert etcdctl(url, "get", "key", "--print-value-only") == "value\n"


def test_every_url_that_is_listed_is_listened_on(tmp_path: Path) -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    peers = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with spawned(
        tmp_path,
        f"--listen-client-urls={','.join(urls)}",
        f"--advertise-client-urls={','.join(urls)}",
        f"--listen-peer-urls={','.join(peers)}",
        f"--initial-advertise-peer-urls={','.join(peers)}",
    ) as process:
        wait_for_line(tmp_path, process, "ready to serve client requests")
        etcdctl(urls[0], "put", "key", "value")
        assert etcdctl(urls[1], "get", "key", "--print-value-only") == "value\n"
        listed = json.loads(etcdctl(urls[1], "member", "list", "-w", "json"))["members"][0]
        assert (sorted(listed["peerURLs"]), listed["clientURLs"]) == (sorted(peers), urls)
        for peer in peers:
            with socket.create_connection(("127.0.0.1", int(peer.rpartition(":")[2])), 5):
                pass


def test_clients_that_do_not_speak_grpc_can_have_a_port_of_their_own(tmp_path: Path) -> None:
    url, other = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with spawned(
        tmp_path,
        f"--listen-client-urls={url}",
        f"--listen-client-http-urls={other}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
    ) as process:
        wait_for_line(tmp_path, process, "ready to serve client requests")
        assert etcdctl(url, "put", "key", "value") == "OK\n"
        assert health(other) == "true"
        request = urllib.request.Request(f"{other}/v3/kv/range", data=b'{"key":"a2V5"}')
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.loads(answer.read())["count"] == "1"
        assert health(url) is None


def test_certificates_are_renewed_while_members_run(tmp_path: Path) -> None:
    """All of a cluster's, one member after the other restarted never."""
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.etcdctl("put", "key", "old")
        old = shown_certificate(cluster, "store-0")
        for file in cluster.pki.glob("store-*-*.crt"):
            file.unlink()
        make_pki(cluster.pki, members=cluster.names, nodes=(), now=dt.datetime.now(dt.UTC))
        assert shown_certificate(cluster, "store-0") != old
        # A connection between peers is made anew with what is there now, on both sides.
        follower = cluster.followers()[0]
        cluster.kill(follower)
        cluster.etcdctl("put", "key", "new", at=cluster.leader())
        cluster.start(follower)
        cluster.wait_ready(follower)
        found = cluster.etcdctl("get", "key", "--print-value-only", at=follower)
        assert found.stdout == "new\n"
        logs = [cluster.log_file(name).read_text() for name in cluster.names]
        assert any("TLS files renewed" in log for log in logs)


def shown_certificate(cluster: StoreCluster, name: str) -> bytes:
    host, _, port = cluster.address(name).rpartition(":")
    context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
    context.load_cert_chain(cluster.pki / "store-client.crt", cluster.pki / "store-client.key")
    with (
        socket.create_connection((host, int(port)), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def test_a_peer_is_reached_at_whichever_of_its_urls_answers(tmp_path: Path) -> None:
    """The first URL of each member leads nowhere, as after the loss of a network."""
    with StoreCluster(tmp_path, tls=False) as cluster:
        dead = {name: f"http://127.0.0.1:{free_port()}" for name in cluster.names}
        initial = ",".join(
            f"{name}={dead[name]},{name}={cluster.peer_url(name)}" for name in cluster.names
        )
        processes = []
        for name in cluster.names:
            command = _replaced(
                cluster.command(name),
                {
                    "--initial-cluster": initial,
                    "--initial-advertise-peer-urls": f"{dead[name]},{cluster.peer_url(name)}",
                },
            )
            with cluster.log_file(name).open("ab") as log:
                processes.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        try:
            url = cluster.client_url("store-0")
            wait_until(lambda: health(url) == "true", "a quorum")
            assert cluster.etcdctl("put", "key", "value", at="store-0").stdout == "OK\n"
        finally:
            for process in processes:
                process.kill()
                process.wait(10)


def _replaced(command: Sequence[str], values: dict[str, str]) -> list[str]:
    changed = list(command)
    for flag, value in values.items():
        changed[changed.index(flag) + 1] = value
    return changed


def test_the_survivor_of_a_lost_cluster_goes_on_alone_and_grows_again(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, spares=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        for number in range(20):
            cluster.etcdctl("put", f"key-{number}", "value", at="store-1")
        before = cluster.etcdctl_json("get", "key-0", at="store-1")["header"]
        cluster.kill()
        cluster.more_flags["store-1"] = ("--force-new-cluster",)
        cluster.start("store-1")
        wait_until(lambda: health(cluster.client_url("store-1")) == "true", "the survivor serves")
        listed = cluster.etcdctl_json("member", "list", at="store-1")["members"]
        assert [member["name"] for member in listed] == ["store-1"]
        found = cluster.etcdctl_json("get", "key-", "--prefix", at="store-1")
        assert found["count"] == 20
        for name in ("cluster_id", "member_id"):
            assert found["header"][name] == before[name]
        # One of the old ones is told that it is none any more, and does not come in.
        cluster.start("store-0")
        refused = "permanently removed"
        wait_until(lambda: refused in cluster.log_file("store-0").read_text(), "refusal")
        cluster.kill("store-1")
        cluster.more_flags.clear()
        cluster.start("store-1")
        wait_until(lambda: health(cluster.client_url("store-1")) == "true", "it serves again")
        url = cluster.peer_url("store-3")
        cluster.etcdctl("member", "add", "store-3", "--peer-urls", url, at="store-1")
        cluster.leave("store-0")
        cluster.leave("store-2")
        cluster.join("store-3")
        cluster.start("store-3")
        cluster.wait_ready("store-3")
        found = cluster.etcdctl_json("get", "key-", "--prefix", at="store-3")
        assert found["count"] == 20
