from __future__ import annotations

import json
import tomllib
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from agents.containerd.__main__ import parse_flags
from agents.containerd.config import (
    CRI,
    SANDBOX_IMAGE,
    Place,
    containerd_config,
    network_config,
    registry_configs,
)
from agents.containerd.network import host_port_rule, remove_cgroups

PLACE = Place(
    Path('/a "b"/root'), Path("/run/s"), IPv4Network("10.64.0.0/24"), "kb0n0", "/usr/lib/cni"
)
FLAGS = {
    "listen": "unix:///run/s",
    "root-dir": "/r",
    "pod-cidr": "10.64.0.0/24",
    "bridge": "kb0n0",
    "cgroup-root": "/k",
}


def test_everything_is_below_the_root_and_nothing_is_the_machines() -> None:
    config = tomllib.loads(containerd_config(PLACE, "overlayfs"))
    assert config["root"].startswith(str(PLACE.root))
    assert config["grpc"]["address"] == "/run/s"
    service = config["plugins"][CRI]
    assert service["sandbox_image"] == SANDBOX_IMAGE
    assert service["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": f"{PLACE.root}/net.d"}
    assert service["registry"]["config_path"] == f"{PLACE.root}/certs.d"


def test_the_network_is_the_nodes_own() -> None:
    config = json.loads(network_config(PLACE))
    bridge, ports = config["plugins"]
    assert (bridge["bridge"], bridge["ipam"]["ranges"]) == ("kb0n0", [[{"subnet": "10.64.0.0/24"}]])
    assert ports["capabilities"] == {"portMappings": True}


def test_the_mirror_is_asked_first_and_offline_alone() -> None:
    configs = registry_configs("http://127.0.0.1:5", offline=False)
    docker = tomllib.loads(configs["docker.io"])
    assert docker["server"] == "https://registry-1.docker.io"
    assert docker["host"]["http://127.0.0.1:5"]["capabilities"] == ["pull", "resolve"]
    offline = registry_configs("http://127.0.0.1:5", offline=True)
    assert [tomllib.loads(text)["server"] for text in offline.values()] == ["http://127.0.0.1:5"]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        pytest.param("listen", "tcp://x", id="not a socket"),
        pytest.param("listen", "unix:///" + 100 * "x", id="too long for a socket"),
        pytest.param("bridge", 16 * "x", id="too long for an interface"),
        pytest.param("cgroup-root", "/", id="the root of all cgroups"),
    ],
)
def test_flags_that_cannot_be_are_refused(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_flags([f"--{name}={text}" for name, text in {**FLAGS, flag: value}.items()])
    assert f"argument --{flag}" in capsys.readouterr().err


def test_cgroups_are_removed_by_name_in_every_hierarchy(tmp_path: Path) -> None:
    for hierarchy in ("memory", "cpu"):
        (tmp_path / hierarchy / "ours/a/b").mkdir(parents=True)
        (tmp_path / hierarchy / "others").mkdir()
    (tmp_path / "ours/c").mkdir(parents=True)
    remove_cgroups("/ours", tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        *("cpu", "cpu/others", "memory", "memory/others"),
    ]


RULE = (
    "-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "
    r'"dnat name: \"kb0n0\" id: \"abc\"" -m multiport --dports 8080 -j CNI-DN-0123456789'
)


@pytest.mark.parametrize(
    ("line", "name", "last"),
    [
        pytest.param(RULE, "kb0n0", ["CNI-DN-0123456789"], id="ours"),
        pytest.param(RULE, "kb0n", [], id="another network"),
        pytest.param("-A POSTROUTING -j CNI-HOSTPORT-MASQ", "kb0n0", [], id="another rule"),
        pytest.param("-N CNI-HOSTPORT-DNAT", "kb0n0", [], id="a chain"),
    ],
)
def test_rules_of_host_ports_are_found_by_their_networks_name(
    line: str, name: str, last: list[str]
) -> None:
    assert host_port_rule(line, name)[-1:] == last
