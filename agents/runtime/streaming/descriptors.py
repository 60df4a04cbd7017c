"""Pipes and terminals in asyncio: read when somebody wants data, written as room comes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from typing import Final

from kubraft.streaming.terminal_size import TerminalSize

# As the kubelet: a message of it fits into the 64 KiB that some clients take at most.
_READ_BYTES: Final = 32 << 10


class OutputReader:
    """Reads a descriptor that does not block, and owns it. One task reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def read(self) -> bytes:
        """What there is; nothing at the end, which for a terminal is that nobody has it open."""
        while self._fd >= 0:
            try:
                return os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                await _wait(self._fd, write=False)
            except OSError:  # EIO: the other end of a terminal is closed
                return b""
        return b""

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class InputWriter:
    """Writes to a descriptor that does not block, and owns it. One task writes."""

    def __init__(self, fd: int, *, is_terminal: bool = False) -> None:
        self._fd = fd
        self.is_terminal = is_terminal

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            OSError: nobody reads it, or ever will.
        """
        view = memoryview(data)
        while view:
            if self._fd < 0:
                raise BrokenPipeError
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await _wait(self._fd, write=True)

    def resize(self, size: TerminalSize) -> None:
        """Tell the terminal; the kernel tells what runs on it (SIGWINCH)."""
        if self._fd >= 0:
            set_size(self._fd, size)

    def close(self) -> None:
        """Let go of it: the reader sees the end."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def set_size(fd: int, size: TerminalSize) -> None:
    """Give a terminal a size, by either end of it."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size.height, size.width, 0, 0))


async def _wait(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    if write:
        loop.add_writer(fd, wake)
    else:
        loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        if write:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)
