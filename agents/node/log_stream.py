"""Streams a container's log to its end, or, following, to the container's end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from agents.node.log_lines import LineWriter, tail_offset

_CHUNK_BYTES = 64 * 1024
_POLL_S = 0.2


async def stream_log(
    path: Path,
    writer: LineWriter,
    *,
    tail_lines: int | None = None,
    follow: bool = False,
    ended: Callable[[], bool] = lambda: True,
) -> AsyncIterator[bytes]:
    """The log's text in chunks of bounded size.

    Args:
        path: the file; it may be renamed by rotation while it is followed.
        writer: decides what of each line is shown.
        tail_lines: begin with the last so many lines; None: from the beginning.
        follow: wait for more until `ended` says that the container has ended.
        ended: whether no more lines will come.

    Raises:
        OSError: the file cannot be read.
    """
    start = 0 if tail_lines is None else await asyncio.to_thread(tail_offset, path, tail_lines)
    file: BinaryIO = path.open("rb")
    try:
        file.seek(start)
        pending = b""
        while not writer.full:
            # Asked before reading: what was written before the end, or before the runtime opened a
            # new file, is then still read.
            over = ended()
            renamed = follow and _is_renamed(path, file)
            data = file.read(_CHUNK_BYTES)
            if data:
                *lines, pending = (pending + data).split(b"\n")
                text = b"".join(map(writer.render, lines))
                if text:
                    yield text
                continue
            if renamed:
                file.close()
                file = path.open("rb")
                continue
            if not follow or over:
                break
            await asyncio.sleep(_POLL_S)
        if pending and not writer.full and (text := writer.render(pending)):
            yield text
    finally:
        file.close()


def _is_renamed(path: Path, file: BinaryIO) -> bool:
    """Whether there is another file at `path` than the one that is open."""
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
