"""Reading a container's log in the CRI format: which lines, and what of them. Pure but for files.

Source: Kubernetes, CRI logging format; PodLogOptions in the API reference.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_BLOCK_BYTES = 64 * 1024
_TIME_CHARS_MIN = len("2026-01-01T00:00:00Z")


class Record(NamedTuple):
    """One record of the file."""

    time: str
    whole: bool  # False: the line goes on in the next record
    text: bytes


def parse_record(line: bytes) -> Record | None:
    """Read one line of the file (without its line feed); None where it is none of ours."""
    fields = line.split(b" ", 3)
    if len(fields) != 4 or len(fields[0]) < _TIME_CHARS_MIN or fields[2][:1] not in {b"F", b"P"}:
        return None
    return Record(fields[0].decode("ascii", errors="replace"), fields[2][:1] == b"F", fields[3])


@dataclass(slots=True)
class LineWriter:
    """Turns records into what the user sees, within the options' bounds."""

    timestamps: bool = False
    since: str = ""  # an RFC 3339 time in UTC; records before it are left out
    limit_bytes: int | None = None
    full: bool = False
    _in_line: bool = False

    def render(self, line: bytes) -> bytes:
        """The output of one line of the file; empty where it is left out."""
        record = parse_record(line)
        if record is None or self.full or record.time < self.since:
            return b""
        prefix = b"" if self._in_line or not self.timestamps else record.time.encode() + b" "
        self._in_line = not record.whole
        text = prefix + record.text + (b"\n" if record.whole else b"")
        if self.limit_bytes is not None:
            text = text[: self.limit_bytes]
            self.limit_bytes -= len(text)
            self.full = self.limit_bytes <= 0
        return text


def tail_offset(path: Path, lines: int) -> int:
    """Where the last `lines` whole lines of the file begin, in bytes."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if lines <= 0:
            return end
        position, found, later = end, 0, b""
        while position > 0:
            size = min(_BLOCK_BYTES, position)
            position -= size
            file.seek(position)
            block = file.read(size)
            data = block + later
            # Count the ends of whole lines: a record marked P does not end one.
            starts = _line_starts(data, from_beginning=position == 0)
            found = 0
            for index in range(len(starts) - 1, -1, -1):
                stop = starts[index + 1] if index + 1 < len(starts) else len(data)
                record = parse_record(data[starts[index] : stop].rstrip(b"\n"))
                if record is not None and record.whole:
                    found += 1
                    if found > lines:
                        return position + stop
            later = data
        return 0


def _line_starts(data: bytes, *, from_beginning: bool) -> list[int]:
    starts = [0] if from_beginning and data else []
    place = data.find(b"\n")
    while 0 <= place < len(data) - 1:
        starts.append(place + 1)
        place = data.find(b"\n", place + 1)
    return starts
