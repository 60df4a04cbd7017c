"""The file that events go to: JSON lines, rotated by size, old files deleted by age and number.

A thread writes; what waits for it is bounded, and what does not fit is dropped and counted. A disk
that hangs costs events, never requests.

Source: kube-apiserver, --audit-log-*; the names of rotated files are those that it gives.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from prometheus_client import Counter

from kubraft.log import get_logger

WAITING_MAX: Final = 10_000
_STAMP: Final = "%Y-%m-%dT%H-%M-%S"

EVENTS = Counter("apiserver_audit_event", "Audit events generated and sent to the audit backend.")
DROPPED = Counter(
    "apiserver_audit_requests_rejected", "Audit events that could not be written and were dropped."
)
_log = get_logger("apiserver.audit")


class LogFile:
    """`size_max` in bytes; 0 of anything is without that limit. "-" writes to standard output."""

    def __init__(
        self,
        path: str,
        *,
        now: Callable[[], datetime],
        size_max: int = 0,
        age_max: timedelta | None = None,
        backups_max: int = 0,
    ) -> None:
        """Raises OSError where the file cannot be written."""
        self._path = None if path == "-" else Path(path)
        self._now = now
        self._size_max = size_max
        self._age_max = age_max
        self._backups_max = backups_max
        self._file = self._open()
        self._size = self._file.tell() if self._path else 0
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Write a line, soon; never waits."""
        try:
            self._waiting.put_nowait(line)
            EVENTS.inc()
        except queue.Full:
            DROPPED.inc()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and end."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                self._write(line)
                if self._waiting.empty():
                    self._file.flush()
            except (OSError, ValueError) as error:
                DROPPED.inc()
                _log.warning("audit_event_lost", cause=str(error))
        self._file.flush()
        if self._path is not None:
            self._file.close()

    def _write(self, line: bytes) -> None:
        rotates = self._path is not None and self._size_max > 0 and self._size > 0
        if rotates and self._size + len(line) + 1 > self._size_max:
            self._rotate()
        self._file.write(line + b"\n")
        self._size += len(line) + 1

    def _open(self) -> BinaryIO:
        if self._path is None:
            return sys.stdout.buffer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        return self._path.open("ab")

    def _rotate(self) -> None:
        assert self._path is not None
        self._file.close()
        now = self._now()
        stamp = f"{now:{_STAMP}}.{now.microsecond // 1000:03}"
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._file, self._size = self._open(), 0
        self._delete_old(now)

    def _delete_old(self, now: datetime) -> None:
        assert self._path is not None
        before, end = f"{self._path.stem}-", self._path.suffix
        found: list[tuple[datetime, Path]] = []
        for path in self._path.parent.iterdir():
            if path.name.startswith(before) and path.name.endswith(end):
                stamp = path.name[len(before) : len(path.name) - len(end)].partition(".")[0]
                try:
                    made = datetime.strptime(stamp, _STAMP).replace(tzinfo=now.tzinfo)
                except ValueError:
                    continue  # not one of ours
                found.append((made, path))
        found.sort(key=lambda each: (each[0], each[1].name), reverse=True)
        for index, (made, path) in enumerate(found):
            over = self._backups_max and index >= self._backups_max
            old = self._age_max is not None and now - made > self._age_max
            if over or old:
                path.unlink(missing_ok=True)
