"""How long to wait before trying again."""

from __future__ import annotations

from random import Random


class Backoff:
    """Delays that double from `base_s` to `max_s`, each with a random part added.

    Jitter adds up to `jitter` times the delay, so that clients that failed together do not come
    back together. A success calls `reset`.
    """

    def __init__(
        self, base_s: float, max_s: float, *, factor: float = 2.0, jitter: float = 0.0, rng: Random
    ) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._factor = factor
        self._jitter = jitter
        self._rng = rng
        self._delay_s = base_s

    def next_s(self) -> float:
        """The delay before the next try, in seconds."""
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * self._factor, self._max_s)
        return delay_s * (1 + self._jitter * self._rng.random())

    def reset(self) -> None:
        """Begin again at `base_s`."""
        self._delay_s = self._base_s


def exponential_s(failures: int, base_s: float, max_s: float) -> float:
    """The delay after `failures` (from 0) failures: base, twice, four times, at most `max_s`."""
    return min(base_s * 2.0 ** min(failures, 60), max_s)
