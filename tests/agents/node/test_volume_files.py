from __future__ import annotations

import errno
from pathlib import Path

import pytest

from agents.node.environment import ConfigError
from agents.node.host_path import host_path
from agents.node.volume_files import File, VolumeError, safe_path, select, write_files
from agents.node.volume_mounts import mounts


def seen(folder: Path) -> dict[str, str]:
    """What a container finds: names that it may know, with their content."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for entry in folder.iterdir()
        if not entry.name.startswith("..")
        for path in ([entry] if entry.is_file() else entry.rglob("*"))
        if path.is_file()
    }


def test_files_are_shown_replaced_and_taken_away_at_once(tmp_path: Path) -> None:
    assert write_files(tmp_path, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    assert seen(tmp_path) == {"a": "1", "deep/b": "2"}
    assert (tmp_path / "deep/b").stat().st_mode & 0o777 == 0o400
    assert not write_files(tmp_path, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    before = (tmp_path / "..data").resolve()
    assert write_files(tmp_path, {"a": File(b"new")})
    assert seen(tmp_path) == {"a": "new"}
    assert not before.exists()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "..data", "..x/y"])
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        safe_path(path)


def test_items_pick_keys_and_modes() -> None:
    source = {"items": [{"key": "a", "path": "x/y", "mode": 0o600}]}
    files = select({"a": b"1", "b": b"2"}, source, 0o644, lacks="no key")
    assert files == {"x/y": File(b"1", 0o600)}
    with pytest.raises(VolumeError, match="no key: z"):
        select({}, {"items": [{"key": "z", "path": "z"}]}, 0o644, lacks="no key")
    assert (
        select({}, {"items": [{"key": "z", "path": "z"}], "optional": True}, 0o644, lacks="") == {}
    )


def test_host_paths_are_checked(tmp_path: Path) -> None:
    assert host_path({"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}).is_dir()
    with pytest.raises(VolumeError, match="is not a file"):
        host_path({"path": str(tmp_path), "type": "File"})


def test_sub_paths_stay_in_their_volume(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    mount, main = {"name": "v", "mountPath": "/m"}, {"name": "main"}
    wanted = {**main, "volumeMounts": [{**mount, "subPathExpr": "$(A)/b"}]}
    (good,) = mounts({}, wanted, {"v": tmp_path}, {"A": "x"})
    assert (good.host_path, Path(good.host_path).is_dir()) == (str(tmp_path / "x/b"), True)
    for sub_path in ("../x", "out/passwd", "/etc"):
        wanted = {**main, "volumeMounts": [{**mount, "subPath": sub_path}]}
        with pytest.raises(ConfigError):
            mounts({}, wanted, {"v": tmp_path}, {})
    with pytest.raises(ConfigError, match="names no volume"):
        mounts({}, {**main, "volumeMounts": [mount]}, {}, {})


def test_files_that_do_not_fit_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": File(b"1")})
    before = sorted(tmp_path.iterdir())

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, {"a": File(b"2")})
    assert sorted(tmp_path.iterdir()) == before
    assert seen(tmp_path) == {"a": "1"}


def test_keys_that_lead_out_are_refused() -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        select({"../x": b""}, {}, 0o644, lacks="no key")
