"""A real etcd, a real API server and real controller managers, on free ports of their own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psutil

from kubraft.client.client import ApiClient
from kubraft.pki import make_pki
from kubraft.ports import free_block

START_TIMEOUT_S = 40.0
# The local profile, with a Lease that is short enough for a test to see it change hands.
MANAGER_FLAGS = (
    "--node-monitor-period=500ms",
    "--node-monitor-grace-period=4s",
    "--pod-eviction-timeout=3s",
    "--node-eviction-rate=10",
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=400ms",
)


@dataclass
class Process:
    """One process with its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> int:
        self.popen.terminate()
        return self.popen.wait(10)

    def pause(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        times = psutil.Process(self.popen.pid).cpu_times()
        return float(times.user + times.system)

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, line: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once the log has `line`."""
        deadline = time.monotonic() + timeout_s
        while line not in self.text():
            assert self.popen.poll() is None, f"{self.name} ended:\n{self.text()}"
            assert time.monotonic() < deadline, f"{self.name} never said {line}:\n{self.text()}"
            time.sleep(0.02)


@dataclass
class ControlPlane:
    """Processes that end with the test session."""

    directory: Path
    ports: tuple[int, ...]
    started: list[Process] = field(default_factory=list)
    shared_manager: Process | None = None

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.ports[4]}"

    def start(self, name: str, *command: str) -> Process:
        log = self.directory / f"{name}-{len(self.started)}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        process = Process(name, popen, log)
        self.started.append(process)
        return process

    def stop_all(self) -> None:
        for process in reversed(self.started):
            process.popen.kill()
            process.popen.wait()

    def managers(self) -> list[Process]:
        """The controller managers that run."""
        return [p for p in self.started if "agents.controllers" in _command(p)]

    def client(self) -> ApiClient:
        """The administrator's."""
        pki = self.directory / "pki"
        return ApiClient(
            self.server,
            ca_file=pki / "ca.crt",
            cert_file=pki / "admin.crt",
            key_file=pki / "admin.key",
        )

    def start_api_server(self) -> Process:
        pki, ports = self.directory / "pki", self.ports
        server = self.start(
            "apiserver",
            sys.executable,
            "-m",
            "apiserver",
            f"--etcd-servers=http://127.0.0.1:{ports[0]}",
            f"--secure-port={ports[2]}",
            f"--grpc-port={ports[3]}",
            f"--grpc-mtls-port={ports[4]}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--default-toleration-seconds=1",
        )
        server.wait_for("event=ready")
        return server

    def running(self, name: str) -> Process:
        """The process of that name that has not ended."""
        return next(p for p in self.started if p.name == name and p.popen.poll() is None)

    def start_manager(self, identity: str, *flags: str) -> Process:
        pki = self.directory / "pki"
        return self.start(
            identity,
            sys.executable,
            "-m",
            "agents.controllers",
            f"--server={self.server}",
            f"--ca-file={pki / 'ca.crt'}",
            f"--cert-file={pki / 'controller-manager.crt'}",
            f"--key-file={pki / 'controller-manager.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--identity={identity}",
            *MANAGER_FLAGS,
            *flags,
        )


def _command(process: Process) -> list[str]:
    if process.popen.poll() is not None:
        return []
    assert isinstance(process.popen.args, tuple)
    return list(map(str, process.popen.args))


@contextlib.contextmanager
def control_plane(directory: Path) -> Iterator[ControlPlane]:
    """etcd and the API server, ready."""
    etcd = shutil.which("etcd", path=str(Path(sys.executable).parent)) or shutil.which("etcd")
    assert etcd is not None
    ports = free_block(Random()).ports
    plane = ControlPlane(directory, ports)
    pki = directory / "pki"
    pki.mkdir(mode=0o700)
    make_pki(pki, members=(), nodes=(), now=datetime.now(UTC))
    store, peer = (f"http://127.0.0.1:{port}" for port in ports[:2])
    try:
        plane.start(
            "etcd",
            etcd,
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        plane.start_api_server()
        yield plane
    finally:
        plane.stop_all()
