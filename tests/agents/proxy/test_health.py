"""Which mode is chosen, and what the proxy says of itself."""

from __future__ import annotations

import asyncio
from http.client import HTTPConnection
from typing import Any

import orjson
import pytest

from agents.proxy.figures import TRIGGERED_ANNOTATION, Figures
from agents.proxy.health import LATE_AFTER_S, Checked, ProxyHealth, answer_for, checked_of
from agents.proxy.http_servers import HttpPort, ServicePorts, figure_answers, health_answers
from agents.proxy.mode_choice import choose
from agents.proxy.service_ports import Place
from kubraft.api.object import ObjectKey
from kubraft.api.time import ManualClock, format_time
from tests.agents.proxy.objects import endpoint, service, slice_of
from tests.harness.ports import free_port

LOOPBACK, ROUTED = service(), service(clusterIP="10.96.0.9")


@pytest.mark.parametrize(
    ("asked", "why_not", "services", "mode", "reason"),
    [
        ("auto", "", [ROUTED], "nftables", "need them"),
        ("auto", "", [LOOPBACK, service(clusterIP="None")], "userspace", "loopback"),
        ("auto", "no nft", [ROUTED], "userspace", "no nft"),
        ("userspace", "", [ROUTED], "userspace", "--proxy-mode"),
        ("nftables", "", [LOOPBACK], "nftables", "--proxy-mode"),
    ],
)
def test_the_mode(asked: str, why_not: str, services: list[Any], mode: str, reason: str) -> None:
    choice = choose(asked, why_not, services)
    assert choice.mode == mode
    assert reason in choice.reason


def test_no_other_mode_than_the_one_asked_for() -> None:
    with pytest.raises(ValueError, match="cannot be: no nft"):
        choose("nftables", "no nft", [ROUTED])


async def test_the_proxy_is_late_when_a_change_waits_for_long() -> None:
    clock = ManualClock()
    health = ProxyHealth(clock)
    assert health.answer("healthz").status == 200
    health.queued()
    await clock.advance(LATE_AFTER_S - 1)
    health.queued()
    assert health.answer("livez").status == 200
    await clock.advance(1)
    assert health.answer("healthz").status == health.answer("livez").status == 503
    body = orjson.loads(health.answer("healthz").body)
    assert body == {
        "lastUpdated": "2026-01-01T00:00:00Z",
        "currentTime": "2026-01-01T00:01:00Z",
        "nodeEligible": True,
    }
    health.updated()
    assert health.answer("healthz").status == 200


def test_balancers_leave_a_node_that_is_going_and_the_proxy_is_well() -> None:
    health = ProxyHealth(ManualClock())
    health.node_is_going = True
    assert health.answer("healthz").status == 503
    assert health.answer("livez").status == 200


@pytest.mark.parametrize(
    ("endpoints", "healthy", "status"),
    [(2, True, 200), (0, True, 503), (2, False, 503)],
)
def test_a_health_check_node_port(endpoints: int, healthy: bool, status: int) -> None:
    answer = answer_for(Checked(ObjectKey("default", "web"), endpoints), healthy=healthy)
    assert answer.status == status
    assert dict(answer.headers)["x-load-balancing-endpoint-weight"] == str(endpoints)
    assert orjson.loads(answer.body)["serviceProxyHealthy"] is healthy


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ({}, 0),
        ({"type": "LoadBalancer", "healthCheckNodePort": 31000}, 0),
        ({"externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}, 0),
        (
            {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 31000,
            },
            31000,
        ),
    ],
)
def test_which_services_have_one(spec: dict[str, Any], port: int) -> None:
    slices = [slice_of("web", endpoint("10.244.0.1"))]
    expected = (port, Checked(ObjectKey("default", "web"), 1)) if port else None
    assert checked_of(service(**spec), slices, Place()) == expected


async def get(port: int, path: str) -> tuple[int, bytes]:
    def ask() -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def test_the_ports_of_the_proxy() -> None:
    clock = ManualClock()
    figures, health = Figures(), ProxyHealth(clock)
    changed = slice_of("web")
    moment = format_time(clock.now())
    changed["metadata"]["annotations"] = {TRIGGERED_ANNOTATION: moment}
    figures.triggered(changed)
    changed["metadata"]["annotations"] = {TRIGGERED_ANNOTATION: "soon"}
    figures.triggered(changed)
    await clock.advance(3)
    figures.synced(0.5, clock.now(), full=True)
    ports = [
        HttpPort(health_answers(health, figures)),
        HttpPort(figure_answers(figures, lambda: "nftables")),
    ]
    probes, metrics = [await each.start("127.0.0.1", 0) for each in ports]
    try:
        assert (await get(probes, "/healthz"))[0] == 200
        assert (await get(probes, "/livez"))[0] == 200
        assert (await get(probes, "/"))[0] == 404
        assert await get(metrics, "/proxyMode") == (200, b"nftables")
        assert await get(metrics, "/healthz") == (200, b"ok")
        status, text = await get(metrics, "/metrics")
    finally:
        for each in ports:
            await each.stop()
    assert status == 200
    lines = text.decode().splitlines()
    for line in (
        "kubeproxy_sync_proxy_rules_duration_seconds_count 1.0",
        "kubeproxy_sync_full_proxy_rules_duration_seconds_sum 0.5",
        "kubeproxy_sync_partial_proxy_rules_duration_seconds_count 0.0",
        "kubeproxy_network_programming_duration_seconds_sum 3.0",
        "kubeproxy_sync_proxy_rules_endpoint_changes_total 2.0",
        'kubeproxy_proxy_healthz_total{code="200"} 1.0',
        'kubeproxy_proxy_livez_total{code="200"} 1.0',
    ):
        assert line in lines


async def test_health_check_node_ports_come_and_go() -> None:
    one, two = free_port(), free_port()
    web = Checked(ObjectKey("default", "web"), 1)
    servers = ServicePorts(ProxyHealth(ManualClock()), "127.0.0.1")
    other = ServicePorts(ProxyHealth(ManualClock()), "127.0.0.1")
    try:
        await servers.apply({one: web})
        await other.apply({one: web, two: web._replace(endpoints=0)})
        assert other.has_failed
        assert (await get(one, "/"))[0] == 200
        assert (await get(two, "/any"))[0] == 503
        await servers.close()
        await other.apply({one: web})
        assert (await get(one, "/"))[0] == 200
        with pytest.raises(ConnectionRefusedError):
            await get(two, "/")
    finally:
        await servers.close()
        await other.close()
