"""The door of a server: takes connections in, and sees to their handshakes.

A client costs a descriptor and some memory before it has said a word, and a TLS handshake that is
never finished tells nobody. So connections are accepted here and not by the event loop: those
whose handshake is under way are known, bounded in number and time, and the oldest of them makes
room for the next. A process that has no descriptors left waits a moment and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from kubraft.log import get_logger

HANDSHAKE_TIMEOUT_S: Final = 30.0
# A client has so long to say goodbye in TLS.
SHUTDOWN_TIMEOUT_S: Final = 5.0
# Handshakes at once; a client that is slow with its own meanwhile loses it to others.
HANDSHAKES_MAX: Final = 1_024
# Connections that are taken in before others have their turn.
_TURN: Final = 64
_PAUSE_S: Final = 0.1
_SAID_EVERY_S: Final = 10.0
# Neither the client's fault nor ours, and over when others have ended.
_SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_log = get_logger("kubraft.listener")


class Listener:
    """Accepts what comes on one listening socket, which it owns.

    `has_room` is asked for each client that comes, is told how many handshakes there are, and may
    make room; without it the client is turned away. `make` makes the protocol of a connection
    once it is established.
    """

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        make: Callable[[], asyncio.Protocol],
        has_room: Callable[[int], bool],
        handshakes_max: int = HANDSHAKES_MAX,
    ) -> None:
        self._socket = listening
        self._tls = tls
        self._make = make
        self._has_room = has_room
        self._handshakes_max = handshakes_max
        # In the order in which they came.
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._said_at = float("-inf")

    @property
    def handshakes(self) -> int:
        """How many are under way."""
        return len(self._handshakes)

    def start(self) -> None:
        """Take connections in; to be called where the event loop runs."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Take nothing in any more, and give up handshakes; a second time does nothing."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for task in list(self._handshakes):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing is left of the handshakes that `close` gave up."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_TURN):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _SHORTAGES:
                    self._wait(error)
                    return
                continue  # it was gone before we looked
            self._take(accepted)

    def _wait(self, error: OSError) -> None:
        """Let others end; their descriptors are what the next connection takes."""
        self._say("cannot accept connections", cause=error.strerror or str(error))
        self._loop.remove_reader(self._socket.fileno())
        self._pause = self._loop.call_later(_PAUSE_S, self.start)
        if not self._has_room(sys.maxsize):
            self._give_up_oldest()

    def _take(self, accepted: socket.socket) -> None:
        if len(self._handshakes) >= self._handshakes_max or not self._has_room(self.handshakes):
            if not self._handshakes:
                self._say("turned a connection away", cause="there are too many")
                accepted.close()
                return
            self._say("gave up a handshake", cause="there are too many connections")
            self._give_up_oldest()
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._establish(accepted))
        self._handshakes[task] = None
        task.add_done_callback(partial(self._forget, accepted))

    async def _establish(self, accepted: socket.socket) -> None:
        timeout_s = HANDSHAKE_TIMEOUT_S if self._tls else None
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S if self._tls else None,
            )
        except (OSError, ssl.SSLError):
            accepted.close()  # whoever it was speaks no TLS, or none of ours
        except BaseException:
            accepted.close()
            raise

    def _forget(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():  # perhaps before it began
            accepted.close()
        with contextlib.suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                _log.error("a handshake failed", cause=f"{type(error).__name__}: {error}")

    def _give_up_oldest(self) -> None:
        oldest = next(iter(self._handshakes), None)
        if oldest is not None:
            del self._handshakes[oldest]
            oldest.cancel()

    def _say(self, event: str, *, cause: str) -> None:
        """Log it, but not for each of thousands of clients."""
        now = self._loop.time()
        if now - self._said_at >= _SAID_EVERY_S:
            self._said_at = now
            _log.warning(event, cause=cause)
