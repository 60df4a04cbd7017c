from __future__ import annotations

import os
import stat
from pathlib import Path

from kubraft.supervisor.log_file import open_log, rotate


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        descriptor = open_log(tmp_path / "a.log")
        os.write(descriptor, line)
        os.close(descriptor)
    assert (tmp_path / "a.log").read_text() == "one\ntwo\n"
    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o600


def test_a_log_beyond_its_bound_moves_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    descriptor = open_log(path)
    os.write(descriptor, b"old\n" * 100)
    assert not rotate(path, bytes_max=400)
    assert rotate(path, bytes_max=399)
    os.write(descriptor, b"new\n")
    os.close(descriptor)
    assert path.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == "old\n" * 100
    assert stat.S_IMODE((tmp_path / "a.log.1").stat().st_mode) == 0o600


def test_a_log_that_is_not_there_yet_is_left_so(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "a.log")
