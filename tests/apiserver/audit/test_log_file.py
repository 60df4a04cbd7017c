"""The file of the audit log: lines in order, rotation, old files, and a disk that is slow."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from apiserver.audit import log_file
from apiserver.audit.log_file import DROPPED, LogFile

START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def _clock() -> Any:
    seconds = itertools.count()
    return lambda: START + dt.timedelta(seconds=next(seconds))


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "logs/audit.log"
    for line in (b"one", b"two"):
        log = LogFile(str(path), now=_clock())
        log.put(line)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_are_rotated_by_size_and_old_ones_deleted(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    (tmp_path / "audit-2025-01-01T00-00-00.000.log").write_text("old")
    (tmp_path / "audit-notes.log").write_text("not ours")
    log = LogFile(
        str(path), now=_clock(), size_max=20, age_max=dt.timedelta(days=30), backups_max=2
    )
    for index in range(8):
        log.put(b"line %03d" % index)
    log.close()
    assert path.read_bytes() == b"line 006\nline 007\n"
    kept = sorted(each.name for each in tmp_path.iterdir())
    assert kept == [
        "audit-2026-01-02T03-04-06.000.log",
        "audit-2026-01-02T03-04-07.000.log",
        "audit-notes.log",
        "audit.log",
    ]


def test_what_a_slow_disk_cannot_take_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "WAITING_MAX", 5)
    free = threading.Event()
    original = LogFile._write

    def slow(self: LogFile, line: bytes) -> None:
        free.wait(30)
        original(self, line)

    monkeypatch.setattr(LogFile, "_write", slow)
    log = LogFile(str(tmp_path / "audit.log"), now=_clock())
    before = DROPPED._value.get()
    for _ in range(20):
        log.put(b"x")
    dropped = DROPPED._value.get() - before
    assert 14 <= dropped <= 15
    free.set()
    log.close()
    assert (tmp_path / "audit.log").read_bytes().count(b"x") == 20 - dropped
