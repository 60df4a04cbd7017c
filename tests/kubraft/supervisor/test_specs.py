from __future__ import annotations

import random
from pathlib import Path

import pytest

from kubraft.cluster_config import Counts, HollowConfig, new_cluster
from kubraft.home import Home
from kubraft.node_runtime import NodeRuntime
from kubraft.supervisor.specs import ProcessSpec, Stage, cluster_processes, companions


def processes(counts: Counts | None = None) -> list[ProcessSpec]:
    cluster = new_cluster(counts or Counts(), auto_ports=False, rng=random.Random(0))
    return cluster_processes(Home(Path(".kubraft")), cluster)


def test_a_cluster_has_the_processes_of_the_design() -> None:
    assert [spec.name for spec in processes()] == [
        "store-0",
        "store-1",
        "store-2",
        "apiserver-0",
        "runtime-0",
        "runtime-1",
        "scheduler-0",
        "controller-manager-0",
        "proxy-0",
        "metrics-server-0",
        "dns-0",
        "cloud-controller-manager-0",
        "node-0",
        "node-1",
    ]


def test_counts_are_followed() -> None:
    counts = Counts(members=5, nodes=1, apiservers=2, schedulers=2, controller_managers=2)
    names = [spec.name for spec in processes(counts)]
    assert len(names) == 5 + 2 + 2 + 2 + 4 + 2
    assert {"store-4", "apiserver-1", "scheduler-1", "controller-manager-1"} <= set(names)


def test_all_hollow_nodes_are_one_process() -> None:
    specs = processes(Counts(hollow=HollowConfig(nodes=1000, cpu=8, taint=False)))
    assert [spec.name for spec in specs if spec.module == "agents.node.hollow"] == ["hollow-0"]
    assert {"--nodes=1000", "--cpu=8", "--max-pods=110", "--no-taint"} <= set(specs[-1].arguments)


@pytest.mark.parametrize(
    ("runtime", "allowed", "told"),
    [
        (NodeRuntime.PROCESS, True, True),
        (NodeRuntime.PROCESS, False, False),
        # Its Services' addresses are not there before the runtime is.
        (NodeRuntime.CONTAINERD, True, True),
    ],
)
def test_nodes_are_told_of_the_name_server_where_it_can_be_reached(
    monkeypatch: pytest.MonkeyPatch, runtime: NodeRuntime, allowed: bool, told: bool
) -> None:
    monkeypatch.setattr("kubraft.supervisor.specs.may_listen", lambda *_: allowed)
    cluster = new_cluster(Counts(runtime=runtime), auto_ports=False, rng=random.Random(0))
    node = cluster_processes(Home(Path(".kubraft")), cluster)[-1]
    assert (f"--cluster-dns={cluster.dns_address}" in node.arguments) is told


def test_a_stage_comes_after_what_it_depends_on() -> None:
    stages = [spec.stage for spec in processes()]
    assert stages == sorted(stages)


def test_a_member_knows_all_its_peers_and_asks_clients_for_certificates() -> None:
    member = processes()[1]
    assert member.module == "store"
    assert "--listen-client-urls=https://127.0.0.1:22379" in member.arguments
    assert any(
        argument == "--initial-cluster=store-0=https://127.0.0.1:2380,"
        "store-1=https://127.0.0.1:22380,store-2=https://127.0.0.1:32380"
        for argument in member.arguments
    )
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(member.arguments)


def test_only_the_apiserver_is_told_of_the_store() -> None:
    for spec in processes():
        knows = any("store-client" in argument for argument in spec.arguments)
        assert knows == (spec.stage is Stage.APISERVER)


def test_paths_do_not_depend_on_the_working_directory() -> None:
    for spec in processes():
        for argument in spec.arguments:
            _, found, path = argument.rpartition("=")
            assert not found or ".kubraft" not in path or path.startswith(("/", "unix:///"))


def test_a_nodes_runtime_is_part_of_its_machine() -> None:
    specs = processes()
    assert [spec.name for spec in companions(specs, "node-1")] == ["runtime-1", "node-1"]
    assert [spec.name for spec in companions(specs, "runtime-1")] == ["runtime-1"]
    assert companions(specs, "node-9") == []


def test_a_configuration_for_the_scheduler_is_taken_where_there_is_one(tmp_path: Path) -> None:
    cluster = new_cluster(Counts(), auto_ports=False, rng=random.Random(0))

    def flags() -> list[str]:
        specs = cluster_processes(Home(tmp_path), cluster)
        (spec,) = (spec for spec in specs if spec.name == "scheduler-0")
        return [flag for flag in spec.arguments if flag.startswith("--config")]

    assert flags() == []
    (tmp_path / "scheduler.yaml").touch()
    assert flags() == [f"--config={tmp_path}/scheduler.yaml"]
