"""The ports on which the scheduler and the controller managers tell how they are."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request

import pytest

from tests.e2e.cluster import Cluster, Workload, until, until_async

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.timeout(180)]


def fetch(cluster: Cluster, port: int, path: str, client: str = "") -> tuple[int, str]:
    """Status and text; as a client whose certificate is `client`, or as nobody."""
    pki = cluster.home.pki
    context = ssl.create_default_context(cafile=pki / "ca.crt")
    if client:
        context.load_cert_chain(pki / f"{client}.crt", pki / f"{client}.key")
    try:
        with urllib.request.urlopen(
            f"https://127.0.0.1:{port}{path}", timeout=20, context=context
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("role", "lease"),
    [
        ("scheduler", "kube-scheduler"),
        ("controller-manager", "kube-controller-manager"),
        ("cloud-controller-manager", "cloud-controller-manager"),
    ],
)
def test_probes_are_for_all_and_figures_for_some(cluster: Cluster, role: str, lease: str) -> None:
    config = cluster.home.get_cluster()
    ports = {
        "scheduler": config.scheduler_ports,
        "controller-manager": config.controller_manager_ports,
        "cloud-controller-manager": (config.cloud_controller_manager_port,),
    }
    port = ports[role][0]
    for probe in ("/healthz", "/livez", "/readyz"):
        assert fetch(cluster, port, probe) == (200, "ok")
    assert "[+]ping ok" in fetch(cluster, port, "/readyz?verbose")[1]
    assert fetch(cluster, port, "/metrics") == (401, "Unauthorized\n")
    refused = fetch(cluster, port, "/metrics", "proxy")
    assert refused[0] == 403
    assert 'User "system:kube-proxy" cannot get path "/metrics"' in refused[1]
    assert fetch(cluster, port, "/nothing", "admin")[0] == 404

    leads = f'leader_election_master_status{{name="{lease}"}} 1'
    until(lambda: leads in fetch(cluster, port, "/metrics", "admin")[1].splitlines(), "it leads")
    assert "process_cpu_seconds_total" in fetch(cluster, port, "/metrics", "admin")[1]


async def test_the_work_of_controllers_is_counted(cluster: Cluster, workload: Workload) -> None:
    port = cluster.home.get_cluster().controller_manager_ports[0]
    await workload.create(replicas=1)
    name = '{name="deployment-controller"}'

    async def counted() -> bool:
        _, text = fetch(cluster, port, "/metrics", "admin")
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        worked = float(figures.get(f"workqueue_work_duration_seconds_count{name}", "0"))
        added = float(figures.get(f"workqueue_adds_total{name}", "0"))
        return 0 < worked <= added and f"workqueue_depth{name}" in figures

    await until_async(counted, "work that was counted")
