"""A real cluster of store members for tests: real processes, mutual TLS, free ports.

    with StoreCluster(tmp_path, members=3) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.kill("store-1")

Members are named `store-0` and so on. Logs and data stay in the directory for a look at a failure.
With `etcd=True` the members are the real etcd, for comparisons.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pki import make_pki
from tests.harness.ports import free_port, free_ports

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
READY_S = 60.0
# What one look at a member may take; a password takes a while to check.
STATUS_S = 5.0


class StoreCluster:
    """Some members on this machine; not started until `start`."""

    def __init__(
        self,
        directory: Path,
        *,
        members: int = 3,
        spares: int = 0,
        tls: bool = True,
        etcd: bool = False,
        flags: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        everyone = tuple(f"store-{number}" for number in range(members + spares))
        self.names = self._founders = everyone[:members]
        # Those that were added to the running cluster, with the names that were there then.
        self._joined: dict[str, tuple[str, ...]] = {}
        self.tls = tls
        self.etcd = etcd
        # What members are told of the first cluster means nothing once they have data.
        self.without_bootstrap = False
        self._flags = tuple(flags)
        # Name and password to ask for a status with, once users count.
        self.log_in: tuple[str, str] | None = None
        # Flags of one member for its next starts.
        self.more_flags: dict[str, tuple[str, ...]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        count = len(everyone)
        self._client_ports = dict(zip(everyone, free_ports(count), strict=True))
        self._peer_ports = dict(zip(everyone, free_ports(count), strict=True))
        directory.mkdir(exist_ok=True)
        self.pki = directory / "pki"
        if tls:
            self.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_pki(self.pki, members=everyone, nodes=(), now=dt.datetime.now(dt.UTC))

    # Where things are.

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def client_url(self, name: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self._client_ports[name]}"

    def peer_url(self, name: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self._peer_ports[name]}"

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self._client_ports[name]}"

    def data_dir(self, name: str) -> Path:
        return self.directory / name

    def log_file(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    @property
    def client_urls(self) -> str:
        """All client URLs with commas, as `--endpoints` and `--etcd-servers` take them."""
        return ",".join(map(self.client_url, self.names))

    def join(self, name: str) -> None:
        """Take in a member that `etcdctl member add` announced; its first start is the next."""
        self.names = (*(n for n in self.names if n != name), name)
        self._joined[name] = self.names

    def leave(self, name: str) -> None:
        """Forget a member that was removed."""
        self.names = tuple(n for n in self.names if n != name)

    def move(self, name: str) -> None:
        """Give a member another peer URL, which its next start uses."""
        self._peer_ports[name] = free_port()

    def command(self, name: str) -> list[str]:
        """The command line of a member."""
        known = self._joined.get(name, self._founders)
        initial = ",".join(f"{member}={self.peer_url(member)}" for member in known)
        program = [str(TOOLS / "etcd")] if self.etcd else [sys.executable, "-m", "store"]
        command = [
            *program,
            *("--name", name),
            *("--data-dir", str(self.data_dir(name))),
            *("--listen-client-urls", self.client_url(name)),
            *("--advertise-client-urls", self.client_url(name)),
            *("--listen-peer-urls", self.peer_url(name)),
        ]
        if not self.without_bootstrap:
            command += [
                *("--initial-advertise-peer-urls", self.peer_url(name)),
                *("--initial-cluster", initial),
                *("--initial-cluster-state", "existing" if name in self._joined else "new"),
                *("--initial-cluster-token", self.directory.name),
            ]
        if self.tls:
            command += [
                *("--cert-file", str(self.pki / f"{name}-server.crt")),
                *("--key-file", str(self.pki / f"{name}-server.key")),
                *("--trusted-ca-file", str(self.pki / "store-ca.crt")),
                "--client-cert-auth",
                *("--peer-cert-file", str(self.pki / f"{name}-peer.crt")),
                *("--peer-key-file", str(self.pki / f"{name}-peer.key")),
                *("--peer-trusted-ca-file", str(self.pki / "store-ca.crt")),
                "--peer-client-cert-auth",
                "--peer-cert-allowed-hostname=localhost",
            ]
        return [*command, *self._flags, *self.more_flags.get(name, ())]

    def variables(self, name: str) -> dict[str, str]:
        """Variables that a member gets besides those of this process."""
        del name
        return {}

    # Starting and killing.

    def start(self, *names: str) -> None:
        """Start members, all if none is named; returns at once."""
        for name in names or self.names:
            with self.log_file(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self.command(name),
                    cwd=ROOT,
                    env=os.environ | self.variables(name),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def is_running(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def kill(self, *names: str) -> None:
        """SIGKILL, all running ones if none is named, and wait until they are gone."""
        chosen = names or tuple(filter(self.is_running, self.names))
        for name in chosen:
            self._processes[name].send_signal(signal.SIGKILL)
        for name in chosen:
            self._processes[name].wait(10)

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def terminate(self, name: str) -> int:
        """SIGTERM; returns the exit status."""
        self._processes[name].send_signal(signal.SIGTERM)
        return self._processes[name].wait(15)

    # Asking.

    def channel(self, name: str) -> grpc.Channel:
        """A channel to one member, as the store's client."""
        options = [("grpc.max_receive_message_length", -1)]
        if not self.tls:
            return grpc.insecure_channel(self.address(name), options)
        return grpc.secure_channel(self.address(name), self.credentials(), options)

    def aio_channel(self, name: str) -> grpc.aio.Channel:
        # A quick reconnection shows when a member is back; the minimum is also what one attempt to
        # connect may take, on a busy machine too.
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        if not self.tls:
            return grpc.aio.insecure_channel(self.address(name), options)
        return grpc.aio.secure_channel(self.address(name), self.credentials(), options)

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            (self.pki / "ca.crt").read_bytes(),
            (self.pki / "store-client.key").read_bytes(),
            (self.pki / "store-client.crt").read_bytes(),
        )

    def status(self, name: str) -> rpc_pb2.StatusResponse:
        """Raises grpc.RpcError: the member does not answer in time."""
        with self.channel(name) as channel:
            ask = channel.unary_unary(
                "/etcdserverpb.Maintenance/Status",
                request_serializer=rpc_pb2.StatusRequest.SerializeToString,
                response_deserializer=rpc_pb2.StatusResponse.FromString,
            )
            answer = ask(rpc_pb2.StatusRequest(), timeout=STATUS_S, metadata=self._token(channel))
            assert isinstance(answer, rpc_pb2.StatusResponse)
            return answer

    def _token(self, channel: grpc.Channel) -> tuple[tuple[str, str], ...]:
        if self.log_in is None:
            return ()
        name, password = self.log_in
        request = rpc_pb2.AuthenticateRequest(name=name, password=password)
        response = rpc_pb2_grpc.AuthStub(channel).Authenticate(request, timeout=STATUS_S)
        return (("token", response.token),)

    def leader(self) -> str:
        """The name of the leader that a majority of the members names; waits for it."""
        found: list[str] = []

        def agreed() -> bool:
            names = {}
            votes: dict[int, int] = {}
            for name in filter(self.is_running, self.names):
                try:
                    status = self.status(name)
                except grpc.RpcError:
                    continue
                names[status.header.member_id] = name
                votes[status.leader] = votes.get(status.leader, 0) + 1
            for leader, count in votes.items():
                if leader in names and count > len(self.names) // 2:
                    found.append(names[leader])
                    return True
            return False

        wait_until(agreed, "a leader that a majority names")
        return found[-1]

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name in self.names if name != leader]

    def wait_ready(self, *names: str) -> None:
        """Wait until members know a leader, all running ones if none is named."""
        for name in names or tuple(filter(self.is_running, self.names)):
            wait_until(partial(self._knows_leader, name), f"{name} ready")

    def _knows_leader(self, name: str) -> bool:
        assert self.is_running(name), self.log_file(name).read_text()[-2000:]
        try:
            status = self.status(name)
        except grpc.RpcError:
            return False
        return bool(status.leader)

    def environment(self, *names: str) -> dict[str, str]:
        """Variables that make etcdctl a client of these members, of all if none is named."""
        urls = ",".join(map(self.client_url, names or self.names))
        environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": urls}
        if self.tls:
            environment |= {
                "ETCDCTL_CACERT": str(self.pki / "ca.crt"),
                "ETCDCTL_CERT": str(self.pki / "store-client.crt"),
                "ETCDCTL_KEY": str(self.pki / "store-client.key"),
            }
        return environment

    def etcdctl(
        self,
        *arguments: str,
        at: str = "",
        stdin: str = "",
        check: bool = True,
        timeout_s: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run the real etcdctl at one member, or at all."""
        done = subprocess.run(
            [str(TOOLS / "etcdctl"), *arguments],
            env=self.environment(*filter(None, [at])),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {done.stderr}")
        return done

    def etcdctl_json(self, *arguments: str, at: str = "") -> Any:
        return json.loads(self.etcdctl(*arguments, "-w", "json", at=at).stdout)

    # As a context manager no process stays behind.

    def close(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self._processes.values():
            process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def wait_until(condition: Callable[[], object], what: str, *, timeout_s: float = READY_S) -> None:
    """Poll a blocking condition with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)
