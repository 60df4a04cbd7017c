"""Clients on a socket of the file system: gRPC, JSON and TLS, and a socket that a crash left."""

import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e


class OnSockets(StoreCluster):
    """One member whose clients come by `plain` and `secure` besides the port."""

    def __init__(self, directory: Path, sockets: Path) -> None:
        """`sockets` is short, for the path of a socket may not be long."""
        super().__init__(directory, members=1)
        self.plain, self.secure = sockets / "plain", sockets / "secure"
        self.metrics = sockets / "metrics"

    def command(self, name: str) -> list[str]:
        listed = f"{self.client_url(name)},unix://{self.plain},unixs://{self.secure}"
        return [
            *super().command(name),
            f"--listen-client-urls={listed}",
            f"--listen-metrics-urls=unix://{self.metrics}",
        ]


def etcdctl(cluster: OnSockets, endpoint: str, *arguments: str) -> str:
    with_keys = cluster.environment()
    # Its client looks for the file's name in the certificate.
    environment = {"ETCDCTL_ENDPOINTS": endpoint, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY": "true"}
    if endpoint.startswith("unix:"):
        del environment["ETCDCTL_INSECURE_SKIP_TLS_VERIFY"]
    else:
        keys = {name: value for name, value in with_keys.items() if name.startswith("ETCDCTL_")}
        environment = keys | environment
    done = subprocess.run(
        [str(TOOLS / "etcdctl"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def get(path: Path, target: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        with connection.makefile() as answer:
            return answer.read()


def test_clients_come_by_sockets(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="s") as sockets,
        OnSockets(tmp_path, Path(sockets)) as cluster,
    ):
        cluster.start()
        cluster.wait_ready()
        assert etcdctl(cluster, f"unix://{cluster.plain}", "put", "k", "plain") == "OK\n"
        assert '{"health":"true","reason":""}' in get(cluster.plain, "/health")
        assert "etcd_server_has_leader 1" in get(cluster.metrics, "/metrics")
        # What a crash leaves is no hindrance; an orderly end leaves nothing.
        cluster.kill()
        assert cluster.plain.is_socket()
        cluster.start()
        cluster.wait_ready()
        assert etcdctl(cluster, f"unixs://{cluster.secure}", "get", "k") == "k\nplain\n"
        cluster.terminate("store-0")
        wait_until(lambda: not cluster.plain.exists(), "the socket is gone")
        assert not cluster.secure.exists()
