from __future__ import annotations

from typing import Any

import pytest

from agents.node.environment import environment
from agents.node.fields import Place
from agents.node.service_links import service_links
from kubraft.api.object import Object
from tests.agents.node.pods import pod

PLACE = Place("127.64.0.2", "127.0.0.1", "node-0", {})


def service(
    service_name: str, namespace: str = "default", ip: str = "10.0.0.1", **port: Any
) -> Object:
    spec = {"clusterIP": ip, "ports": [{"port": 80, "protocol": "TCP", **port}]}
    return {"metadata": {"name": service_name, "namespace": namespace}, "spec": spec}


def test_a_service_gives_its_address_and_links() -> None:
    assert service_links(pod(), [service("my-web", name="http-alt", port=8000)]) == {
        "MY_WEB_SERVICE_HOST": "10.0.0.1",
        "MY_WEB_SERVICE_PORT": "8000",
        "MY_WEB_SERVICE_PORT_HTTP_ALT": "8000",
        "MY_WEB_PORT": "tcp://10.0.0.1:8000",
        "MY_WEB_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "MY_WEB_PORT_8000_TCP_PROTO": "tcp",
        "MY_WEB_PORT_8000_TCP_PORT": "8000",
        "MY_WEB_PORT_8000_TCP_ADDR": "10.0.0.1",
    }


def test_an_address_of_ip_version_6_stands_in_brackets_in_urls_alone() -> None:
    found = service_links(pod(), [service("web", ip="fd00::1")])
    assert found["WEB_SERVICE_HOST"] == found["WEB_PORT_80_TCP_ADDR"] == "fd00::1"
    assert found["WEB_PORT"] == "tcp://[fd00::1]:80"


KUBERNETES = service("kubernetes", ip="10.0.0.9")


@pytest.mark.parametrize(
    ("services", "spec", "hosts"),
    [
        pytest.param([service("a", "other"), service("b")], {}, {"B": "10.0.0.1"}, id="namespace"),
        pytest.param([service("a", ip="None")], {}, {}, id="headless"),
        pytest.param([service("a", ip="")], {}, {}, id="ExternalName"),
        pytest.param(
            [service("a", "n"), KUBERNETES],
            {"enableServiceLinks": False, "metadata": {"namespace": "n"}},
            {"KUBERNETES": "10.0.0.9"},
            id="no links, but the API server",
        ),
        pytest.param(
            [service("kubernetes", "n", "10.0.0.2"), KUBERNETES],
            {"metadata": {"namespace": "n"}},
            {"KUBERNETES": "10.0.0.2"},
            id="its own before the API server's",
        ),
    ],
)
def test_who_is_told_of_what(
    services: list[Object], spec: dict[str, Any], hosts: dict[str, str]
) -> None:
    found = service_links(pod(**spec), services)
    suffix = "_SERVICE_HOST"
    assert {
        name.removesuffix(suffix): value for name, value in found.items() if name.endswith(suffix)
    } == hosts


async def test_the_spec_may_refer_to_links_and_comes_before_them() -> None:
    async def fetch(*_: object) -> Object:
        raise AssertionError

    links = {"WEB_SERVICE_HOST": "10.0.0.1", "WEB_SERVICE_PORT": "80"}
    container = {
        "env": [
            {"name": "URL", "value": "http://$(WEB_SERVICE_HOST)/"},
            {"name": "WEB_SERVICE_PORT", "value": "81"},
        ]
    }
    assert await environment(pod(), container, PLACE, fetch, links) == {
        "WEB_SERVICE_HOST": "10.0.0.1",
        "WEB_SERVICE_PORT": "81",
        "URL": "http://10.0.0.1/",
    }
