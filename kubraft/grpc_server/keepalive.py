"""Finding out that a client is gone although its connection still stands.

Source: gRFC A9, server-side connection management; etcd, --grpc-keepalive-interval and -timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubraft.grpc_server.guard import Limits


class Keepalive:
    """Pings after silence, and gives up after more of it; set `heard` whenever something came."""

    def __init__(
        self, limits: Limits, ping: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self._interval_s = limits.keepalive_interval_s
        self._timeout_s = limits.keepalive_timeout_s
        self._ping = ping
        self._give_up = give_up
        self._pinged = False
        self.heard = False
        self._timer: asyncio.TimerHandle | None = None
        if self._interval_s > 0 and self._timeout_s > 0:
            self._again(self._interval_s)

    def _again(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if self.heard:
            self.heard = self._pinged = False
            self._again(self._interval_s)
        elif self._pinged:
            self._give_up()
        else:
            self._pinged = True
            self._ping()
            self._again(self._timeout_s)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
