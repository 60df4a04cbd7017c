"""A container's log file in the CRI format: `<RFC 3339 with nanoseconds> stdout|stderr F|P text`.

P marks a part of a line longer than the maximum, F its end (or a whole line).

Source: Kubernetes, "kubelet CRI logging" design; containerd's 16 KiB line limit.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

LINE_BYTES_MAX = 16 * 1024


def timestamp(now_ns: int) -> bytes:
    """RFC 3339 in UTC with exactly nine digits of seconds' fraction."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanoseconds:09d}Z".encode()


class LineSplitter:
    """Cuts one stream's bytes into records; keeps an unfinished line until its end comes."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream
        self._pending = bytearray()

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """The records that `data` completes."""
        self._pending += data
        *lines, rest = bytes(self._pending).split(b"\n")
        records: list[bytes] = []
        prefix = timestamp(now_ns) + b" " + self._stream
        for line in lines:
            *parts, last = _parts(line)
            records += [prefix + b" P " + part + b"\n" for part in parts]
            records.append(prefix + b" F " + last + b"\n")
        *parts, rest = _parts(rest)
        records += [prefix + b" P " + part + b"\n" for part in parts]
        self._pending = bytearray(rest)
        return b"".join(records)

    def finish(self, now_ns: int) -> bytes:
        """The last line, where it has no line feed."""
        if not self._pending:
            return b""
        record = timestamp(now_ns) + b" " + self._stream + b" F " + bytes(self._pending) + b"\n"
        self._pending.clear()
        return record


def _parts(line: bytes) -> list[bytes]:
    """At least one part, each at most LINE_BYTES_MAX, only the last one shorter."""
    starts = range(0, max(len(line), 1), LINE_BYTES_MAX)
    return [line[start : start + LINE_BYTES_MAX] for start in starts]


class LogFile:
    """The open file; a full disk loses lines, never blocks the container."""

    def __init__(self, path: str) -> None:
        """An empty path writes nowhere.

        Raises:
            OSError: the file cannot be created.
        """
        self.path = path
        self._fd = self._open()
        self.lost_bytes = 0

    def _open(self) -> int:
        if not self.path:
            return -1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, 0o640)

    def write(self, records: bytes) -> None:
        """Append whole records."""
        if self._fd < 0 or not records:
            return
        try:
            written = os.write(self._fd, records)
        except OSError:
            written = 0
        self.lost_bytes += len(records) - written

    def reopen(self) -> None:
        """Go on in a new file after someone has renamed the old one away."""
        fd = self._open()
        self.close()
        self._fd = fd

    def close(self) -> None:
        """No record follows."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
