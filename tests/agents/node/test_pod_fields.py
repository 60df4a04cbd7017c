"""Fields of a Pod's spec, each as its containers see it: one node for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kubraft.api.gvk import POD
from kubraft.api.object import Object
from tests.agents.node.node_process import Node, running_node
from tests.harness.api import ApiUnderTest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fields_node(
    api: ApiUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Node]:
    folder: Path = tmp_path_factory.mktemp("fields")
    flags = ("--cluster-dns=10.96.0.10", "--cluster-domain=cluster.test")
    async with running_node(api, folder, flags=flags) as node:
        yield node
        for pod in (await node.client.list(POD, "default")).items:
            await node.client.delete(POD, pod["metadata"]["name"], "default", grace_period_s=0)


async def output(node: Node, pod: Object) -> str:
    """What a Pod that runs once wrote."""
    name = pod["metadata"]["name"]
    pod["spec"]["restartPolicy"] = "Never"
    await node.run(pod)
    await node.until(name, lambda p: p["status"].get("phase") in {"Succeeded", "Failed"})
    return await node.logs(name)


async def test_a_pod_knows_its_names_and_whom_to_ask(fields_node: Node) -> None:
    node = fields_node
    command = "hostname; cat /etc/hostname; echo --; cat /etc/hosts; echo --; cat /etc/resolv.conf"
    names = {"hostname": "db-0", "subdomain": "db"}
    aliases = [{"ip": "192.0.2.7", "hostnames": ["foo.test"]}]
    pod = node.pod("names", "sh", "-c", command, hostAliases=aliases, **names)
    own, hosts, resolver = (await output(node, pod)).split("--\n")
    assert own == "db-0\ndb-0\n"
    address = (await node.get("names"))["status"]["podIP"]
    assert f"{address}\tdb-0.db.default.svc.cluster.test\tdb-0\n" in hosts
    assert "192.0.2.7\tfoo.test\n" in hosts
    lines = resolver.splitlines()
    assert lines[0].startswith("search default.svc.cluster.test svc.cluster.test cluster.test")
    assert lines[1:] == ["nameserver 10.96.0.10", "options ndots:5"]


async def test_a_pod_may_have_a_resolver_of_its_own(fields_node: Node) -> None:
    config = {"nameservers": ["192.0.2.9"], "searches": ["a.test"]}
    pod = fields_node.pod("resolver", "cat", "/etc/resolv.conf", dnsPolicy="None", dnsConfig=config)
    assert await output(fields_node, pod) == "search a.test\nnameserver 192.0.2.9\n"
