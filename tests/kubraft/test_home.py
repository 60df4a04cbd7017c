from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from kubraft.cluster_config import ClusterConfig, Counts, new_cluster
from kubraft.home import Home, HomeError, write_private


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def cluster() -> ClusterConfig:
    return new_cluster(Counts(), auto_ports=False, rng=random.Random(0))


def test_the_home_is_private_and_remembers_the_cluster(home: Home, cluster: ClusterConfig) -> None:
    assert home.find_cluster() is None
    home.prepare(cluster)
    assert home.find_cluster() == cluster
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.cluster_file.stat().st_mode) == 0o600


def test_preparing_twice_changes_nothing(home: Home, cluster: ClusterConfig) -> None:
    home.prepare(cluster)
    home.prepare(cluster)
    assert home.get_cluster() == cluster


def test_the_environment_names_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBRAFT_HOME", "/tmp/elsewhere")
    assert Home.from_environment().path == Path("/tmp/elsewhere")
    monkeypatch.delenv("KUBRAFT_HOME")
    assert Home.from_environment().path == Path(".kubraft")


def test_a_directory_of_something_else_is_left_alone(home: Home, cluster: ClusterConfig) -> None:
    home.path.mkdir()
    (home.path / "thesis.tex").touch()
    with pytest.raises(HomeError, match="left alone"):
        home.prepare(cluster)
    with pytest.raises(HomeError, match="no cluster in"):
        home.remove()
    assert (home.path / "thesis.tex").exists()


def test_a_data_directory_of_another_cluster_is_refused(home: Home, cluster: ClusterConfig) -> None:
    home.prepare(cluster)
    (home.data("store-1") / "cluster-token").write_text("0123456789abcdef\n")
    with pytest.raises(HomeError, match=r"store-1 is of another cluster .0123456789abcdef, this"):
        home.prepare(cluster)


def test_data_without_a_mark_is_refused(home: Home, cluster: ClusterConfig) -> None:
    home.data("store-0").mkdir(parents=True)
    (home.data("store-0") / "data.mdb").touch()
    write_private(home.cluster_file, cluster.to_json())
    with pytest.raises(HomeError, match=r"of another cluster .unknown"):
        home.prepare(cluster)


def test_a_full_disk_is_said_in_one_line(
    home: Home, cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr("kubraft.home.shutil.disk_usage", lambda _: Usage(free=3 << 20))
    with pytest.raises(HomeError, match=r"disk full: 3 MiB are free for .*, 64 MiB are needed"):
        home.prepare(cluster)


def test_no_permission_is_said_in_one_line(cluster: ClusterConfig) -> None:
    with pytest.raises(HomeError, match=r"^cannot write /sys/kubraft: .*(permi|denied|Read-only)"):
        Home(Path("/sys/kubraft")).prepare(cluster)


def test_a_file_in_the_way_is_said_in_one_line(home: Home, cluster: ClusterConfig) -> None:
    home.path.touch()
    with pytest.raises(HomeError, match=r"cannot write .*: File exists"):
        home.prepare(cluster)


@pytest.mark.parametrize("text", ["", "{}", '{"kubraft": {"version": 99}}', '{"kubraft": 3}'])
def test_a_damaged_cluster_file_is_named(home: Home, text: str) -> None:
    home.path.mkdir()
    home.cluster_file.write_text(text)
    with pytest.raises(HomeError, match="is not a cluster's description"):
        home.get_cluster()


def test_removing_takes_everything(home: Home, cluster: ClusterConfig) -> None:
    home.prepare(cluster)
    home.remove()
    assert not home.path.exists()


def test_sockets_fit_their_limit_in_a_deep_home(tmp_path: Path, cluster: ClusterConfig) -> None:
    deep = Home(tmp_path / ("deep-" * 20) / "home")
    deep.prepare(cluster)
    try:
        assert len(os.fsencode(deep.socket("controller-manager-0"))) < 108
        assert stat.S_IMODE(deep.run.stat().st_mode) == 0o700
    finally:
        deep.remove()
    assert not deep.run.exists()


def test_a_foreign_socket_directory_is_refused(tmp_path: Path, cluster: ClusterConfig) -> None:
    deep = Home(tmp_path / ("deep-" * 20) / "home")
    deep.run.mkdir()
    deep.run.chmod(0o777)
    try:
        with pytest.raises(HomeError, match="not a directory of this user's alone"):
            deep.prepare(cluster)
    finally:
        deep.run.rmdir()


def test_a_private_file_replaces_at_once_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
