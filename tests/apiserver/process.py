"""`python -m apiserver` as a child process, for end-to-end tests and the bench."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.apiserver.harness import make_test_pki
from tests.harness.api import key_flags
from tests.harness.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


class ApiProcess:
    """One API server; several may share a folder, and with `like` the ports of another."""

    admin_token = "admin-token-of-a-test"

    def __init__(
        self,
        folder: Path,
        etcd_servers: str,
        *,
        name: str = "a0",
        like: ApiProcess | None = None,
        store_pki: Path | None = None,
    ) -> None:
        """`store_pki` holds the store's authorities and client certificate, for https:// URLs."""
        self.folder = folder
        self.name = name
        self.pki = make_test_pki(folder / "pki")
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{self.admin_token},admin,1,system:masters\nbob-token,bob,2,\n")
        tokens.chmod(0o600)
        self.ports: tuple[int, ...] = like.ports if like else tuple(free_ports(3))
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.command = self._make_command(etcd_servers, tokens)
        if store_pki:
            for flag, file in (("ca", "ca.crt"), ("cert", "store-client.crt")):
                self.command += [f"--etcd-{flag}file", str(store_pki / file)]
            self.command += ["--etcd-keyfile", str(store_pki / "store-client.key")]

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.ports[1]}"

    @property
    def mutual_target(self) -> str:
        return f"127.0.0.1:{self.ports[2]}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            if "event=ready" in self.log.read_text():
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self, timeout_s: float = 15) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def http(self, path: str, token: str = "") -> tuple[int, str]:
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports[0]}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _make_command(self, etcd_servers: str, tokens: Path) -> list[str]:
        flags: dict[str, object] = {
            "--identity": self.name,
            "--secure-port": self.ports[0],
            "--grpc-port": self.ports[1],
            "--grpc-mtls-port": self.ports[2],
            "--etcd-servers": etcd_servers,
            **key_flags(self.pki, tokens),
        }
        pairs = [str(part) for pair in flags.items() for part in pair]
        return [sys.executable, "-m", "apiserver", *pairs]
