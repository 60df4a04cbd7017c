"""Where a program's output goes: a container's to its log file, an executed one's to memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable

from agents.runtime.container_log import LineSplitter, LogFile
from kubraft.log import get_logger

log = get_logger("runtime")
_READ_BYTES = 64 * 1024
# A container that writes faster than this is read in turns with everything else.
_READS_PER_WAKE_MAX = 4


class PipeReader:
    """Reads one pipe from the event loop until its end; owns the descriptor."""

    def __init__(self, fd: int, on_data: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._paused = False
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        for _turn in range(_READS_PER_WAKE_MAX):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:  # EIO: the other end of a terminal is closed
                data = b""
            if not data:
                self.close()
                return
            self._on_data(data)
            if self._paused:
                return

    def pause(self) -> None:
        """Let the writer wait."""
        if self._fd >= 0 and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on."""
        if self._fd >= 0 and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Stop reading."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self.ended.set()


class Audience(ABC):
    """Hears what a container writes, besides its log."""

    @abstractmethod
    def hear(self, stream: bytes, data: bytes) -> None:
        """Take `data` of "stdout" or "stderr"; never waits."""

    @property
    @abstractmethod
    def full(self) -> bool:
        """Whether the container should wait; its pump is told by `resume` when it need no more."""

    @abstractmethod
    def end(self) -> None:
        """No more comes."""


class LogPump:
    """Writes a container's two streams into its log file, and lets others hear them."""

    def __init__(self, log: LogFile, streams: dict[bytes, int], now_ns: Callable[[], int]) -> None:
        """`streams`: name ("stdout", "stderr") to the read end of its pipe, owned from here on."""
        self._log = log
        self._now_ns = now_ns
        self._splitters = {name: LineSplitter(name) for name in streams}
        self._audiences: list[Audience] = []
        self._finishing = False
        self._readers = [
            PipeReader(fd, self._writer_of(name, self._splitters[name]))
            for name, fd in streams.items()
        ]

    def _writer_of(self, name: bytes, splitter: LineSplitter) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            self._log.write(splitter.feed(data, self._now_ns()))
            for audience in self._audiences:
                audience.hear(name, data)
            if self._is_held_up():
                for reader in self._readers:
                    reader.pause()

        return write

    def _is_held_up(self) -> bool:
        # At the end there is only what the pipes hold, and the log must have it.
        return not self._finishing and any(audience.full for audience in self._audiences)

    def join(self, audience: Audience) -> None:
        """Have it hear what is written from now on."""
        self._audiences.append(audience)

    def leave(self, audience: Audience) -> None:
        """Have it hear no more."""
        if audience in self._audiences:
            self._audiences.remove(audience)
        self.resume()

    def resume(self) -> None:
        """Go on, if no audience is full any more."""
        if not self._is_held_up():
            for reader in self._readers:
                reader.resume()

    async def finish(self, timeout_s: float) -> None:
        """Write what is still in the pipes, then close the file."""
        self._finishing = True
        self.resume()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for reader in self._readers:
                    await reader.ended.wait()
        for reader in self._readers:
            reader.close()
        for audience in self._audiences:
            audience.end()
        for splitter in self._splitters.values():
            self._log.write(splitter.finish(self._now_ns()))
        self._log.close()
        if self._log.lost_bytes:
            log.warning("container log incomplete", path=self._log.path, bytes=self._log.lost_bytes)

    def reopen(self) -> None:
        """Go on in a new file.

        Raises:
            OSError: it cannot be created; the old one stays in use.
        """
        self._log.reopen()


class Capture:
    """Keeps a stream in memory, up to a bound; the rest is read and dropped."""

    def __init__(self, fd: int, bytes_max: int) -> None:
        self.data = bytearray()
        self._bytes_max = bytes_max
        self.reader = PipeReader(fd, self._keep)

    def _keep(self, data: bytes) -> None:
        self.data += data[: self._bytes_max - len(self.data)]
