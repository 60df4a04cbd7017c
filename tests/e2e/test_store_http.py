"""What a member says over HTTP, and that it starts where etcd is expected."""

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.store_cluster import ROOT, StoreCluster, wait_until
from tests.harness.ports import free_port

pytestmark = pytest.mark.e2e


class Site:
    """The metrics URL of the first member of a cluster."""

    def __init__(self, directory: Path, *, members: int, tls: bool) -> None:
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self.cluster = StoreCluster(directory, members=members, tls=tls)

    def start(self) -> None:
        """Only the first one: one port is not for all."""
        self.cluster.start(*self.cluster.names[1:]) if len(self.cluster.names) > 1 else None
        command = self.cluster.command("store-0")
        with self.cluster.log_file("store-0").open("ab") as log:
            self.cluster._processes["store-0"] = subprocess.Popen(
                [
                    *command,
                    *("--listen-metrics-urls", self.url),
                    *("--logger", "zap", "--log-outputs", "stderr", "--strict-reconfig-check"),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.cluster.wait_ready()

    def get(self, path: str) -> tuple[int, str]:
        context = None
        if self.cluster.tls:
            pki = self.cluster.pki
            context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
            context.load_cert_chain(pki / "store-client.crt", pki / "store-client.key")
        try:
            with urllib.request.urlopen(self.url + path, timeout=10, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, members=3, tls=False)
    with site.cluster:
        site.start()
        yield site


def test_probes_and_metrics_tell_the_state(site: Site) -> None:
    cluster = site.cluster
    wait_until(
        lambda: "ready to serve client requests" in cluster.log_file("store-0").read_text(),
        "the line that harnesses wait for",
    )
    assert site.get("/health") == (200, '{"health":"true","reason":""}')
    assert json.loads(site.get("/version")[1])["etcdserver"].startswith("3.")
    assert site.get("/livez") == (200, "ok\n")
    assert "[+]linearizable_read ok" in site.get("/readyz?verbose")[1]
    assert site.get("/readyz/non_learner") == (200, "ok\n")
    assert site.get("/nothing")[0] == 404

    cluster.etcdctl("put", "a", "1")  # perhaps to another member
    keys = "etcd_debugging_mvcc_keys_total 1\n"
    wait_until(lambda: keys in site.get("/metrics")[1], "the put has come here")
    metrics = site.get("/metrics")[1]
    for line in (
        "etcd_server_has_leader 1\n",
        "etcd_debugging_mvcc_keys_total 1\n",
        "etcd_debugging_mvcc_current_revision 2\n",
        'etcd_server_version{server_version="3.',
        "etcd_mvcc_db_total_size_in_bytes ",
        "process_resident_memory_bytes ",
    ):
        assert line in metrics

    cluster.etcdctl("alarm", "list")
    cluster.kill("store-1", "store-2")
    wait_until(lambda: site.get("/health")[0] == 503, "no quorum, no health", timeout_s=20)
    assert site.get("/health?serializable=true")[0] == 200
    assert site.get("/livez") == (200, "ok\n")
    status, text = site.get("/readyz")
    assert (status, "[-]linearizable_read failed" in text) == (503, True)


def test_https_asks_for_a_certificate_as_the_client_port_does(tmp_path: Path) -> None:
    site = Site(tmp_path, members=1, tls=True)
    with site.cluster:
        site.start()
        assert site.get("/health")[0] == 200
        bare = ssl.create_default_context(cafile=str(site.cluster.pki / "ca.crt"))
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            urllib.request.urlopen(site.url + "/health", timeout=10, context=bare)


def test_the_version_is_that_of_etcd_whose_ways_we_have() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "store", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith("etcd Version: 3.")
