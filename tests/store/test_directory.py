"""What is made lasts: the names of new directories and files are synced, not only their content."""

import os
import stat
from pathlib import Path

import pytest

from store.directory import make_directory
from store.mvcc.backend import FILE_NAME
from store.mvcc.machine import KvMachine
from store.raft.disk import DiskDirectory
from tests.store.mvcc.machine_driver import MAP_BYTES


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Of each directory that was synced: the names that it had at the last time."""
    found: dict[str, set[str]] = {}
    fsync = os.fsync

    def note(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.is_dir():
            found[str(path)] = {entry.name for entry in path.iterdir()}
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_every_new_name_is_synced(tmp_path: Path, synced: dict[str, set[str]]) -> None:
    path = tmp_path / "a" / "b"
    make_directory(path)
    assert synced == {str(tmp_path): {"a"}, str(tmp_path / "a"): {"b"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_is_there_is_synced_again(
    tmp_path: Path, synced: dict[str, set[str]]
) -> None:
    (tmp_path / "a").mkdir()
    make_directory(tmp_path / "a")
    assert synced == {str(tmp_path): {"a"}}


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "a")


def test_log_and_state_do_not_vanish_with_their_directories(
    tmp_path: Path, synced: dict[str, set[str]]
) -> None:
    DiskDirectory(tmp_path / "wal").close()
    KvMachine.open(tmp_path / "state", map_bytes=MAP_BYTES).close()
    assert synced[str(tmp_path)] == {"wal", "state"}
    assert FILE_NAME in synced[str(tmp_path / "state")]
