"""Names of Services and of StatefulSets' Pods, looked up inside a Pod of a real cluster."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from kubraft.api.gvk import POD, SERVICE
from kubraft.api.object import Object
from kubraft.ports import DNS_PORT, may_listen
from tests.agents.dns.cluster import asked
from tests.e2e.cluster import Cluster, Workload, until_async

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

# Looks names up until all lead where they should; what came last is in the Pod's log.
LOOK_UP = """
import socket, sys, time, urllib.request
expected = eval(sys.argv[1])
def found(name):
    try:
        return sorted({each[4][0] for each in socket.getaddrinfo(name, 80)})
    except OSError as error:
        return str(error)
while True:
    seen = {name: found(name) for name in expected}
    print(seen, flush=True)
    if seen == expected:
        break
    time.sleep(0.2)
for name in expected:
    if name.startswith("web"):
        body = urllib.request.urlopen(f"http://{name}:8000/", timeout=30).read()
        assert body.startswith(b"pod: "), body
"""


def pod(name: str, namespace: str, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "db"}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec},
    }


async def looks_up(workload: Workload, cluster: Cluster, name: str, expected: object) -> None:
    """A Pod of that name has found these addresses, and the web servers answered it."""
    config = cluster.home.get_cluster()
    if not may_listen(config.dns_address, DNS_PORT):
        return  # without that right Pods have the host's names only: docs/dns.md
    command = ["python3", "-c", LOOK_UP, repr(expected)]
    container = {"name": "main", "image": "python", "command": command}
    made = pod(name, workload.name, containers=[container])
    await workload.client.create({**made, "metadata": {**made["metadata"], "labels": {}}})

    async def succeeded() -> bool:
        found = await workload.client.get(POD, name, workload.name)
        phase = (found.get("status") or {}).get("phase")
        assert phase != "Failed", cluster.kubraft("logs", name, "-n", workload.name)
        return phase == "Succeeded"

    await until_async(succeeded, f"{name} has found {expected}", timeout_s=90)


async def test_pods_find_services_and_each_other_by_name(
    cluster: Cluster, workload: Workload
) -> None:
    await workload.create(2)
    name = workload.name
    ports = [{"port": 8000, "targetPort": 8080}]
    made = []
    services: list[tuple[str, Object]] = [
        ("web", {"selector": {"app": name}, "ports": ports}),
        ("db", {"selector": {"app": "db"}, "ports": ports, "clusterIP": "None"}),
    ]
    for each, spec in services:
        metadata = {"name": each, "namespace": name}
        made.append(
            await workload.client.create(
                {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
            )
        )
    web = {"name": "main", "image": "kubraft/web:v1"}
    peer = pod("db-0", name, containers=[web], hostname="db-0", subdomain="db")
    await workload.client.create(peer)
    address = ""

    async def has_address() -> bool:
        nonlocal address
        found = await workload.client.get(POD, "db-0", name)
        address = (found.get("status") or {}).get("podIP") or ""
        return bool(address)

    await until_async(has_address, "an address of db-0", timeout_s=60)
    own = [made[0]["spec"]["clusterIP"]]
    expected = {
        "web": own,
        f"web.{name}.svc.cluster.local": own,
        "db": [address],
        "db-0.db": [address],
    }
    await looks_up(workload, cluster, "client-a", expected)
    # The name server dies, and is back; a Service that is made then is found too.
    os.kill(cluster.process("dns-0")["pid"], signal.SIGKILL)
    later = await workload.client.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web-later", "namespace": name},
            "spec": {"selector": {"app": name}, "ports": ports},
        }
    )
    expected = {"web-later": [later["spec"]["clusterIP"]], "db-0.db": [address]}
    await looks_up(workload, cluster, "client-b", expected)
    service = await workload.client.get(SERVICE, "kube-dns", "kube-system")
    config = cluster.home.get_cluster()
    assert service["spec"]["clusterIP"] == config.dns_address

    async def answers() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((config.name_server, 1053))
            try:
                client.send(asked("kubernetes.default.svc.cluster.local"))
                return socket.inet_aton(config.kubernetes_address) in client.recv(512)
            except OSError:
                return False  # it is being started

    await until_async(answers, "an answer at the name server's own address", timeout_s=60)
