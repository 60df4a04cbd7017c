"""A container's termination message: from its file, or the end of its log.

Source: Kubernetes documentation, "Determine the Reason for Pod Failure".
"""

from __future__ import annotations

import os
from pathlib import Path

MESSAGE_BYTES_MAX = 4096
LOG_BYTES_MAX = 2048
LOG_LINES_MAX = 80


def last_words(file: Path, log: Path | None) -> str:
    """What the container said about its end; of its log only where `log` is given."""
    text = _tail(file, MESSAGE_BYTES_MAX)
    if text or log is None:
        return text
    lines = [
        _content(line)
        for line in _tail(log, 64 * 1024).removesuffix("\n").split("\n")[-LOG_LINES_MAX:]
    ]
    return "\n".join(lines)[-LOG_BYTES_MAX:]


def _content(line: str) -> str:
    """The text of one line of a CRI log."""
    return [*line.split(" ", 3), "", "", ""][3]


def _tail(path: Path, bytes_max: int) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            return file.read(bytes_max).decode(errors="replace")
    except OSError:
        return ""
