"""Load balancers and machines of a whole cluster, with the real kubectl and the command line."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess

import pytest

from kubraft.api.gvk import NODE, SERVICE
from kubraft.api.object import key_of, labels_of
from kubraft.client.client import ApiClient
from tests.e2e.cluster import Cluster, Workload, until_async
from tests.e2e.test_services import answers, get

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

PORT = 8088


async def test_an_exposed_deployment_has_an_address_that_answers(
    cluster: Cluster, workload: Workload
) -> None:
    await workload.create(1)
    kubectl = shutil.which("kubectl", path=cluster.environment["PATH"])
    assert kubectl, "kubectl is not installed: `make tools` does that"
    words = ["expose", "deployment", workload.name, "--name=front", "--type=LoadBalancer"]
    words += [f"--port={PORT}", "--target-port=8080", "-n", workload.name]
    flags = ["--kubeconfig", str(cluster.home.kubeconfig)]
    command = [kubectl, *flags, *words]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
    address = ""

    async def has_address() -> bool:
        nonlocal address
        found = await workload.client.get(SERVICE, "front", workload.name)
        ingress = (found["status"].get("loadBalancer") or {}).get("ingress") or [{}]
        address = ingress[0].get("ip", "")
        return bool(address)

    await until_async(has_address, "an external address", timeout_s=60)
    await answers(address, PORT, "v1")
    # The cloud controller manager dies; the address is the same, and answers again.
    os.kill(cluster.process("cloud-controller-manager-0")["pid"], signal.SIGKILL)
    await answers(address, PORT, "v1")
    await workload.client.delete(SERVICE, "front", workload.name)

    async def is_gone() -> bool:
        return await get(address, PORT) == "ConnectionRefusedError"

    await until_async(is_gone, "nobody at that address", timeout_s=60)


async def test_machines_come_and_go(cluster: Cluster, client: ApiClient) -> None:
    before = {key_of(node).name for node in (await client.list(NODE)).items}
    try:
        assert "node-2 " in cluster.kubraft("add-node")

        async def is_known() -> bool:
            node = await client.get(NODE, "node-2")
            return labels_of(node).get("node.kubernetes.io/instance-type") == "process"

        await until_async(is_known, "what node-2 is", timeout_s=60)
        node = await client.get(NODE, "node-2")
        token = cluster.home.get_cluster().token
        assert node["spec"]["providerID"] == f"local://{token}/node-2"
    finally:
        cluster.kubraft("remove-node", "node-2")

    async def is_gone() -> bool:
        return {key_of(node).name for node in (await client.list(NODE)).items} == before

    await until_async(is_gone, "the Node deleted", timeout_s=90)
    names = {process["name"] for process in cluster.status()["processes"]}
    assert not names & {"node-2", "runtime-2"}
    done = cluster.run("remove-node", "node-9")
    assert done.returncode == 1
    assert "no node is named 'node-9': there are node-0, node-1" in done.stderr
