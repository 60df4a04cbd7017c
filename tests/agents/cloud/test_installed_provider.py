"""The example of docs/cloud.md, installed by pip, in real processes of which one may act."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from agents.cloud.provider import ENTRY_POINT_GROUP, CloudContext, find_factory
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.gvk import NODE, SERVICE
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from tests.agents.controllers.processes import Manager
from tests.e2e.cluster import until_async
from tests.harness.api import ROOT, ApiUnderTest, running_api
from tests.harness.installed import install_example
from tests.harness.ports import free_port

EXAMPLE = ROOT / "docs/examples/cloud-provider"
WITHIN_S = 40.0
FLAGS = (
    "--cloud-provider=ledger",
    "--allocate-node-cidrs",
    "--cluster-cidr=10.244.0.0/16",
    "--route-reconciliation-period=200ms",
    "--leader-elect-lease-duration=5s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=300ms",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip as a user would install it."""
    make = tmp_path_factory.mktemp
    return install_example(EXAMPLE, make("site"), make("tmp"))


def test_it_is_found_by_its_entry_point(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    found = [point for each in distributions(path=[str(installed)]) for point in each.entry_points]
    assert [(point.group, point.name) for point in found] == [(ENTRY_POINT_GROUP, "ledger")]
    made = find_factory("ledger", {})(CloudContext(str(tmp_path / "ledger"), SystemClock()))
    assert (made.name, made.instances) == ("ledger", None)
    with pytest.raises(ValueError, match="there is no such provider; ledger"):
        find_factory("another", {})


class Clouds:
    """Two replicas of the cloud controller manager, and what they asked the provider for."""

    def __init__(self, api: ApiUnderTest, folder: Path) -> None:
        self.ledger = folder / "ledger"
        self.api = api
        self.first, self.second = (self._make(each, folder) for each in ("first", "second"))

    def _make(self, name: str, folder: Path) -> Manager:
        pki = self.api.pki / "cloud-controller-manager-server"
        command = ["agents.cloud", *self.api.agent_flags("cloud-controller-manager"), *FLAGS]
        command += [f"--identity={name}", f"--cloud-config={self.ledger}"]
        command += [f"--secure-port={free_port()}", f"--client-ca-file={self.api.pki / 'ca.crt'}"]
        command += [f"--tls-cert-file={pki}.crt", f"--tls-private-key-file={pki}.key"]
        return Manager(name, command, folder)

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        text = self.ledger.read_text() if self.ledger.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if wanted.items() <= line.items()]

    async def until(self, holds: Callable[[], object], what: str) -> None:
        async def look() -> bool:
            return bool(holds())

        await until_async(look, what, timeout_s=WITHIN_S)


@pytest.fixture
def clouds(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clouds]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), str(ROOT)]))
    with running_api(tmp_path) as api:
        made = Clouds(api, tmp_path)
        try:
            yield made
        finally:
            made.first.kill()
            made.second.kill()


@pytest.fixture
async def admin(clouds: Clouds) -> AsyncIterator[ApiClient]:
    client = clouds.api.client("admin")
    yield client
    await client.close()


async def _node(admin: ApiClient, number: int) -> str:
    cidr = f"10.244.{number}.0/24"
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}}
    await admin.create({**made, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
    return cidr


@pytest.mark.e2e
async def test_of_two_replicas_one_asks_the_provider(clouds: Clouds, admin: ApiClient) -> None:
    first, second = clouds.first, clouds.second
    first.start()
    first.wait_leading()
    second.start()
    second.wait_ready()
    one = await _node(admin, 1)
    await clouds.until(lambda: clouds.lines(what="create route", cidr=one), "a route")
    if clouds.lines(pid=second.pid):  # a machine so loaded that the Lease went over
        first, second = second, first
    asked = clouds.lines(pid=first.pid)

    first.pause()
    two = await _node(admin, 2)
    service = await admin.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }
    )
    await clouds.until(
        lambda: clouds.lines(what="ensure load balancer", uid=service["metadata"]["uid"]),
        "a load balancer",
    )
    await clouds.until(lambda: clouds.lines(what="create route", cidr=two), "the second route")
    # All that has changed meanwhile waits for the first; it may not act on it any more.
    first.resume()
    first.wait_for("event=leadership_lost")
    assert clouds.lines(pid=first.pid) == asked
    three = await _node(admin, 3)
    await clouds.until(lambda: clouds.lines(what="create route", cidr=three), "the third route")
    assert clouds.lines(what="create route", cidr=two, pid=second.pid)
    assert clouds.lines(what="ensure load balancer", pid=second.pid)
    created = clouds.lines(what="create route")
    assert [line["cidr"] for line in created] == [one, two, three]

    # And back, after a kill: nothing is asked for that is there.
    second.kill()
    await admin.delete(NODE, "node-1")
    await clouds.until(lambda: clouds.lines(what="delete route", cidr=one), "the route gone")
    assert clouds.lines(what="create route") == created
    found = await admin.get(SERVICE, "web", "default")
    assert found["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.7"
    node = await admin.get(NODE, "node-3")
    condition = find_condition(conditions_of(node), "NetworkUnavailable") or {}
    assert condition["reason"] == "RouteCreated"
    assert first.terminate() == 0
