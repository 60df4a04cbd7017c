"""Who is among the addresses of the Service `kubernetes`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from apiserver.kubernetes_service import (
    ADVERTISED,
    IDENTITY_LABEL,
    ended,
    endpoint_slice,
    endpoints,
    heard_of,
    service,
    updated,
)
from apiserver.storage.memory_store import MemoryStore
from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import eventually
from tests.apiserver.in_process import Served, serving

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def lease(advertised: str, age_s: float, name: str = "apiserver-x") -> Object:
    renewed = (NOW - dt.timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata: Object = {"name": name, "labels": {IDENTITY_LABEL: "kube-apiserver"}}
    if advertised:
        metadata["annotations"] = {ADVERTISED: advertised}
    return {"metadata": metadata, "spec": {"renewTime": renewed}}


@pytest.mark.parametrize(
    ("leases", "addresses"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param([lease("10.0.0.1:6443", 9)], ["10.0.0.1"], id="one"),
        pytest.param(
            [lease("10.0.0.2:6443", 0), lease("10.0.0.1:6443", 29)],
            ["10.0.0.1", "10.0.0.2"],
            id="two, in order",
        ),
        pytest.param([lease("10.0.0.1:6443", 31)], [], id="not heard of"),
        pytest.param([lease("10.0.0.1:6443", -5)], ["10.0.0.1"], id="a clock that is ahead"),
        pytest.param([lease("", 0)], [], id="another's identity"),
        pytest.param([lease("nonsense", 0), lease("::1", 0)], [], id="nonsense"),
        pytest.param([lease("[fd00::1]:6443", 0)], ["fd00::1"], id="IPv6"),
        pytest.param(
            [lease("10.0.0.1:6443", 0), lease("10.0.0.2:7443", 0)],
            ["10.0.0.1"],
            id="of one port",
        ),
    ],
)
def test_fresh_leases_say_who_listens(leases: list[Object], addresses: list[str]) -> None:
    listening = heard_of(leases, NOW)
    subsets = endpoints(listening).get("subsets", [])
    assert [a["ip"] for s in subsets for a in s["addresses"]] == addresses
    made = endpoint_slice(listening)
    assert [a for each in made["endpoints"] for a in each["addresses"]] == addresses


def test_leases_of_long_ago_are_ended() -> None:
    leases = [lease("10.0.0.1:6443", 3601, "old"), lease("10.0.0.1:6443", 3599, "new")]
    assert ended(leases, NOW) == ["old"]


def test_what_somebody_else_added_stays() -> None:
    wanted = service("10.96.0.0/16", 6443)
    found: dict[str, Any] = {**wanted, "status": {"loadBalancer": {}}}
    found["metadata"] = {**wanted["metadata"], "labels": {**wanted["metadata"]["labels"], "a": "b"}}
    assert updated(found, wanted) is None
    moved = updated(found, service("10.96.0.0/16", 7443))
    assert moved is not None
    assert moved["spec"]["ports"][0]["targetPort"] == 7443
    assert moved["metadata"]["labels"]["a"] == "b"


class SharedStore(MemoryStore):
    """Outlives the servers on it."""

    async def close(self) -> None:
        pass


async def test_a_server_that_leaves_takes_its_address_along(tmp_path: Path, pki: Path) -> None:
    store = SharedStore()

    async def addresses(served: Served) -> list[str]:
        path = "/api/v1/namespaces/default/endpoints/kubernetes"
        found = (await served.ask("GET", path)).json()
        return [a["ip"] for s in found.get("subsets", []) for a in s["addresses"]]

    async def leases(served: Served) -> list[Any]:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
        return list((await served.ask("GET", path)).json()["items"])

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    async with serving(tmp_path / "one", pki, store=store) as first:
        other = ("--identity=apiserver-1", "--advertise-address=10.0.0.9")
        async with serving(tmp_path / "two", pki, *other, store=store):

            async def both() -> bool:
                return len(await leases(first)) == 2

            await eventually(both)

        async def alone() -> bool:
            return len(await leases(first)) == 1 and "10.0.0.9" not in await addresses(first)

        await eventually(alone)
