from __future__ import annotations

import random
from pathlib import Path

import pytest

from kubraft.cli.image_commands import import_images
from kubraft.cli.runtime_choice import with_runtime
from kubraft.cluster_config import ClusterConfig, ClusterConfigError, Counts, new_cluster
from kubraft.home import Home
from kubraft.node_runtime import NodeRuntime
from kubraft.supervisor.daemon import DaemonError
from kubraft.supervisor.runtime_specs import bridge
from kubraft.supervisor.specs import cluster_processes

SOCKET = "unix:///run/containerd/containerd.sock"


def cluster(runtime: str | None, endpoint: str = "", *, auto_ports: bool = False) -> ClusterConfig:
    counts = with_runtime(Counts(), runtime, endpoint)
    return new_cluster(counts, auto_ports=auto_ports, rng=random.Random(3))


def test_the_process_runtime_is_the_default() -> None:
    assert cluster(None).runtime is NodeRuntime.PROCESS
    assert cluster(None) != cluster("containerd")


@pytest.mark.parametrize("auto_ports", [False, True])
def test_pods_of_containerd_have_addresses_that_other_namespaces_reach(*, auto_ports: bool) -> None:
    config = cluster("containerd", auto_ports=auto_ports)
    assert config.service_network.startswith("10.")
    assert all(node.pod_cidr.startswith("10.") for node in config.nodes)
    assert all(len(bridge(config, node)) <= 15 for node in config.nodes)
    assert ClusterConfig.from_json(config.to_json()) == config


def test_pods_of_containerd_ask_the_clusters_name_server() -> None:
    config = cluster("containerd")
    node = cluster_processes(Home.from_environment(), config)[-1]
    assert f"--cluster-dns={config.dns_address}" in node.arguments


def test_a_foreign_socket_is_for_one_node_and_has_no_process() -> None:
    config = cluster(None, SOCKET)
    names = [spec.name for spec in cluster_processes(Home.from_environment(), config)]
    assert [node.name for node in config.nodes] == ["node-0"]
    assert not [name for name in names if name.startswith("runtime")]
    node = cluster_processes(Home.from_environment(), config)[-1]
    assert f"--container-runtime-endpoint={SOCKET}" in node.arguments
    with pytest.raises(ClusterConfigError, match="one runtime is for one node"):
        config.with_counts(with_runtime(Counts(nodes=2), None, SOCKET))


@pytest.mark.parametrize(
    ("runtime", "endpoint", "text"),
    [
        pytest.param("docker", "", "RUNTIME=docker: must be process or containerd", id="unknown"),
        pytest.param("containerd", SOCKET, "exclude each other", id="both"),
        pytest.param(None, "tcp://x", "begins with unix:///", id="no socket"),
    ],
)
def test_what_cannot_be_is_explained(runtime: str | None, endpoint: str, text: str) -> None:
    with pytest.raises(ClusterConfigError, match=text):
        cluster(runtime, endpoint)


def test_a_cluster_keeps_its_runtime() -> None:
    config = cluster("containerd")
    assert config.with_counts(Counts()).runtime is NodeRuntime.CONTAINERD
    with pytest.raises(ClusterConfigError, match="have the containerd runtime"):
        config.with_counts(with_runtime(Counts(), "process", ""))


def test_the_process_runtime_says_that_it_takes_no_archives(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare(cluster(None))
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"")
    with pytest.raises(DaemonError, match="has its built-in images only"):
        import_images(home, archive)
