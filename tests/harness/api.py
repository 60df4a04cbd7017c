"""A real API server on a real etcd, as processes of their own, for end-to-end tests of its clients.

with running_api(tmp_path) as api:
    client = api.client("admin")
    api.kill(); api.start()
"""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubraft.client.client import ApiClient
from kubraft.pki import make_pki
from tests.conformance.storage.etcd import running_etcd
from tests.harness.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
NODES = ("node-0", "node-1")
ADMIN_TOKEN = "admin-token-of-the-tests"


class ProcessUnderTest:
    """One of our processes, with its log in a file; never outlives the test."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._command = [sys.executable, "-m", *command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self, *flags: str) -> None:
        """Start it, this once with more flags; returns at once."""
        assert self._process is None
        with self.log_file.open("ab") as log:
            command = [*self._command, *flags]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Return once this start of it has logged `event=ready`."""
        deadline_s = time.monotonic() + timeout_s
        already = self._ready_count
        while self._ready_lines() <= already:
            assert self._process
            assert self._process.poll() is None, f"{self.name} ended: {self.log()[-2000:]}"
            assert time.monotonic() < deadline_s, f"{self.name} not ready: {self.log()[-2000:]}"
            time.sleep(0.02)
        self._ready_count = self._ready_lines()

    _ready_count = 0

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self, timeout_s: float = 10.0) -> int:
        """SIGTERM; the exit status."""
        assert self._process
        self._process.terminate()
        status = self._process.wait(timeout_s)
        self._process = None
        return status

    def _ready_lines(self) -> int:
        return self.log().count("event=ready")


def key_flags(pki: Path, tokens: Path) -> dict[str, object]:
    """The API server's flags for the files of `pki`, and its table of tokens."""
    return {
        "--tls-cert-file": pki / "apiserver.crt",
        "--tls-private-key-file": pki / "apiserver.key",
        "--client-ca-file": pki / "ca.crt",
        "--token-auth-file": tokens,
        "--service-account-key-file": pki / "sa.pub",
        "--service-account-signing-key-file": pki / "sa.key",
        "--kubelet-certificate-authority": pki / "ca.crt",
        "--kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "--kubelet-client-key": pki / "apiserver-kubelet-client.key",
    }


class ApiUnderTest(ProcessUnderTest):
    """The API server with its keys; kill and start it at will, the store stays."""

    def __init__(self, folder: Path, etcd_url: str, *more_flags: str) -> None:
        self.folder = folder
        self.pki = folder / "pki"
        self.pki.mkdir(mode=0o700)
        make_pki(self.pki, members=(), nodes=NODES, now=dt.datetime.now(dt.UTC))
        self.rest_port, self.grpc_port, self.grpc_mtls_port = free_ports(3)
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{ADMIN_TOKEN},kubernetes-admin,1,"system:masters"\n')
        tokens.chmod(0o600)
        flags: dict[str, object] = {
            "--secure-port": self.rest_port,
            "--grpc-port": self.grpc_port,
            "--grpc-mtls-port": self.grpc_mtls_port,
            "--etcd-servers": etcd_url,
            **key_flags(self.pki, tokens),
        }
        command = ["apiserver", *(str(part) for flag in flags.items() for part in flag)]
        command += more_flags
        super().__init__("apiserver", command, folder)

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.grpc_mtls_port}"

    def credentials(self, name: str) -> dict[str, Any]:
        """The files of that identity ("admin", "scheduler", "node-0", ...)."""
        return {
            "ca_file": str(self.pki / "ca.crt"),
            "cert_file": str(self.pki / f"{name}.crt"),
            "key_file": str(self.pki / f"{name}.key"),
        }

    def client(self, name: str = "admin", **options: Any) -> ApiClient:
        """A client with the certificate of that identity."""
        return ApiClient(self.server, **self.credentials(name), **options)

    def token_client(self, token: str = ADMIN_TOKEN) -> ApiClient:
        """A client with a bearer token."""
        server = f"127.0.0.1:{self.grpc_port}"
        return ApiClient(server, ca_file=self.pki / "ca.crt", token=token)

    def agent_flags(self, name: str) -> list[str]:
        """The flags with which an agent finds and trusts this API server."""
        files = self.credentials(name)
        flags = ["--server", self.server]
        for flag in ("ca_file", "cert_file", "key_file"):
            flags += [f"--{flag.replace('_', '-')}", files[flag]]
        return flags


@contextlib.contextmanager
def running_api(folder: Path, *flags: str) -> Iterator[ApiUnderTest]:
    """An API server that is ready, on an empty etcd; both are gone afterwards."""
    with running_etcd(folder) as url:
        api = ApiUnderTest(folder, url, *flags)
        api.start()
        try:
            api.wait_ready()
            yield api
        finally:
            api.kill()
