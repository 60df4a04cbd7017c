"""Standard output of a command whose reader may stop reading, as `head` does.

A command then ends at once and quietly by SIGPIPE, as kubectl does. Python ignores that signal,
rightly: it must not end a process over one of its sockets. So only what writes here knows it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, cast


class _Output(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
            raise


def end_with_reader() -> None:
    """From now on this process ends when nobody reads its standard output any more."""
    old = sys.stdout
    try:
        number = old.fileno()
        old.flush()
    except (AttributeError, OSError, ValueError):  # none, or not a file
        return
    output = _Output(number, "wb", closefd=False)
    unbuffered = bool(getattr(old, "write_through", False))  # python -u
    sys.stdout = io.TextIOWrapper(
        cast("io.BufferedWriter", output) if unbuffered else io.BufferedWriter(output),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=bool(getattr(old, "line_buffering", False)),
        write_through=unbuffered,
    )
