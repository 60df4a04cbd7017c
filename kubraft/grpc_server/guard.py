"""What one client may make an HTTP/2 connection do for nothing. No I/O; the clock is passed in.

A frame that costs its sender nothing must not cost us much: pings, settings and empty frames that
come too fast, calls that are begun and given up at once, headers in endless pieces.
Source: RFC 9113, section 10.5; gRFC A8 and A9; CVE-2019-9511 to 9518, CVE-2023-44487, VU#421644.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kubraft.grpc_server.frames import ENHANCE_YOUR_CALM, ConnectionFaultError

STREAMS_MAX = 16_384
# Source: gRPC, server enforcement of keepalive: without a call, pings may come this often.
_PING_INTERVAL_IDLE_S = 2 * 3600.0
_PING_STRIKES_MAX = 2
# So many at once, and so many a second for long.
_RESETS = (4000, 100.0)
_IDLE_FRAMES = (2000, 200.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection. The times are etcd's --grpc-keepalive-* flags; 0 turns each off."""

    message_bytes_max: int = 4 << 20
    streams_max: int = STREAMS_MAX
    # The least time between two pings of a client that has calls.
    ping_interval_s_min: float = 5.0
    # A client that is silent so long is pinged, and cut off if it is so for the second as well.
    keepalive_interval_s: float = 2 * 3600.0
    keepalive_timeout_s: float = 20.0
    # A connection without a request for so long is closed, and before that where others find no
    # room; 0: HTTP/2's may stay.
    idle_s: float = 0.0


class Bucket:
    """Fills with `per_s` up to `most`, and says when it is empty."""

    def __init__(self, most: int, per_s: float, now: Callable[[], float]) -> None:
        self._most = most
        self._per_s = per_s
        self._now = now
        self._left = float(most)
        self._at = now()

    def take(self) -> bool:
        if self._left < 1:
            now = self._now()
            self._left = min(self._most, self._left + (now - self._at) * self._per_s)
            self._at = now
            if self._left < 1:
                return False
        self._left -= 1
        return True


class Guard:
    """Counts for one connection; each method raises ConnectionFaultError where it is too much."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._ping_interval_s_min = limits.ping_interval_s_min
        self._now = now
        self._resets = Bucket(*_RESETS, now)
        self._idle_frames = Bucket(*_IDLE_FRAMES, now)
        self._last_ping_at = -_PING_INTERVAL_IDLE_S
        self._strikes = 0

    def ping(self, *, busy: bool, spoke: bool) -> None:
        """A ping came, while calls are running or not, after something was sent or not."""
        self.idle_frame()
        now = self._now()
        least = self._ping_interval_s_min if busy else _PING_INTERVAL_IDLE_S
        too_soon = now - self._last_ping_at < least
        self._last_ping_at = now
        if spoke or self._ping_interval_s_min <= 0:
            self._strikes = 0
        elif too_soon:
            self._strikes += 1
            if self._strikes > _PING_STRIKES_MAX:
                raise ConnectionFaultError(ENHANCE_YOUR_CALM, "too_many_pings")

    def reset(self) -> None:
        """The client gave a call up."""
        if not self._resets.take():
            raise ConnectionFaultError(ENHANCE_YOUR_CALM, "too many resets")

    def idle_frame(self) -> None:
        """A frame came that brings no call on."""
        if not self._idle_frames.take():
            raise ConnectionFaultError(ENHANCE_YOUR_CALM, "too many idle frames")
