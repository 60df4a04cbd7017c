"""A real API server on a real etcd, in a home as `make up` would make it, for the command line."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from kubraft.cli.app import make_app
from kubraft.cluster_config import Counts, new_cluster
from kubraft.credentials import make_credentials
from kubraft.home import Home
from kubraft.pki import make_pki

ROOT = Path(__file__).parents[3]
START_S_MAX = 40.0


class Ended(NamedTuple):
    """What a command wrote."""

    stdout: str
    stderr: str


class RealApi:
    """The home of a running API server, and its command line."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def kubraft(self, *arguments: str, stdin: str = "", fails: bool = False) -> Ended:
        """Run `kubraft ARGUMENTS` in this process, which is ten times as fast as a new one.

        A status other than the expected one fails the test.
        """
        out, err = io.StringIO(), io.StringIO()
        status: object = 0
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, {"KUBRAFT_HOME": str(self.home.path)}),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        ):
            try:
                make_app()(list(arguments), prog_name="kubraft")
            except SystemExit as end:
                status = end.code
        return _checked(arguments, bool(status), out.getvalue(), err.getvalue(), fails=fails)

    def command(
        self, *arguments: str, fails: bool = False, env: dict[str, str] | None = None
    ) -> Ended:
        """Run `kubraft ARGUMENTS` as a process of its own, as a person does."""
        done = subprocess.run(
            [sys.executable, "-c", "from kubraft.cli import main; main()", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "KUBRAFT_HOME": str(self.home.path), **(env or {})},
            timeout=60,
            check=False,
        )
        return _checked(arguments, done.returncode != 0, done.stdout, done.stderr, fails=fails)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `kubraft ARGUMENTS` and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-c", "from kubraft.cli import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "KUBRAFT_HOME": str(self.home.path)},
        )


def _checked(arguments: object, failed: bool, out: str, err: str, *, fails: bool) -> Ended:
    shown = f"kubraft {arguments}\n{out}\n{err}"
    assert failed == fails, shown
    assert "Traceback" not in err, shown
    return Ended(out, err)


@contextlib.contextmanager
def real_api(folder: Path) -> Iterator[RealApi]:
    """Start both processes; kill them at the end."""
    home = Home(folder / "home")
    cluster = new_cluster(Counts(members=1, nodes=0), auto_ports=True, rng=random.Random())
    home.prepare(cluster)
    make_pki(home.pki, members=(), nodes=("node-0",), now=dt.datetime.now(dt.UTC))
    make_credentials(home, cluster.rest)
    with contextlib.ExitStack() as stack:
        member = cluster.members[0]
        url, peer = f"http://127.0.0.1:{member.client_port}", f"http://127.0.0.1:{member.peer_port}"
        log = stack.enter_context((folder / "log").open("w"))
        _start(
            stack,
            ["etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
             "--log-level", "error", "--unsafe-no-fsync"],
            log,
        )  # fmt: skip
        pki = home.pki
        process = _start(
            stack,
            [sys.executable, "-m", "apiserver", "--etcd-servers", url,
             "--secure-port", str(cluster.rest_port), "--grpc-port", str(cluster.grpc_port),
             "--grpc-mtls-port", str(cluster.grpc_mtls_port),
             "--tls-cert-file", str(pki / "apiserver.crt"),
             "--tls-private-key-file", str(pki / "apiserver.key"),
             "--client-ca-file", str(pki / "ca.crt"),
             "--token-auth-file", str(home.token_auth_file),
             "--service-account-key-file", str(pki / "sa.pub"),
             "--service-account-signing-key-file", str(pki / "sa.key")],
            log,
        )  # fmt: skip
        _wait_ready(process, folder / "log")
        yield RealApi(home)


def _start(
    stack: contextlib.ExitStack, arguments: list[str], log: object
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=ROOT)  # type: ignore[call-overload]
    stack.callback(process.wait)
    stack.callback(process.kill)
    found: subprocess.Popen[bytes] = process
    return found


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while "event=ready" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the API server did not start:\n{log.read_text()}")
        time.sleep(0.05)
