"""A real etcd as a child process, for tests that hold our layers to the real thing."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.harness.ports import free_ports


def find_etcd() -> str | None:
    beside = Path(sys.executable).with_name("etcd")
    return str(beside) if beside.exists() else shutil.which("etcd")


@contextlib.contextmanager
def running_etcd(folder: Path, *, tls: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the client URL of a fresh single-member etcd; it is gone afterwards.

    `tls`: flags for TLS with its clients.
    """
    executable = find_etcd()
    assert executable is not None
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    if tls:
        client = client.replace("http", "https")
    command = [executable, "--name", "e0", "--data-dir", str(folder / "etcd")]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"e0={peer}", "--unsafe-no-fsync", "--log-level", "error"]
    command += tls
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_listening(client, process)
        yield client
    finally:
        process.kill()
        process.wait()


def _wait_listening(url: str, process: subprocess.Popen[bytes]) -> None:
    host, port = url.rpartition("/")[2].split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "etcd ended"
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 0.5):
            return
        time.sleep(0.02)
    raise AssertionError("etcd does not listen")
