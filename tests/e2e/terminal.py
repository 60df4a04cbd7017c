"""A program under a terminal of its own, as a person would use it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

DEADLINE_S = 60.0


class Terminal:
    """What the program shows, and a keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return once something matches in what was shown since the last match."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := re.search(pattern, self.shown)) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown[-2000:]!r}"
            if not self._read(left):
                raise AssertionError(f"ended without {pattern!r}: {self.shown[-2000:]!r}")
        self.shown = self.shown[found.end() :]
        return found

    def end(self) -> int:
        """Wait for the program's end; its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(max(0.0, deadline - time.monotonic())):
            pass
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], min(timeout_s, DEADLINE_S))
        if not ready:
            return timeout_s > 0
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:  # the last who had the other end is gone
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def terminal(
    command: Sequence[str], environment: Mapping[str, str], *, rows: int = 33, columns: int = 99
) -> Iterator[Terminal]:
    """A running program whose terminal has this size."""
    descriptor, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        list(command),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**environment, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(inner)
    try:
        yield Terminal(process, descriptor)
    finally:
        process.kill()
        process.wait()
        os.close(descriptor)
