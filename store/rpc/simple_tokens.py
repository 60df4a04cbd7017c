"""Simple tokens: random names that all members know, because they were handed out by the log.

Nothing is signed and nothing outlives a restart; a client whose token is gone logs in again. Each
member forgets a token that it has not seen used for a while. Source: etcd, server/auth.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RANDOM_LETTERS = 16


def random_part() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM_LETTERS))


class SimpleTokens:
    """Implements `store.mvcc.auth.commands.Tokens`."""

    def __init__(self, *, ttl_s: float, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock in seconds."""
        self._ttl_s = ttl_s
        self._now = now
        # User and deadline by token, the one used longest ago first.
        self._tokens: dict[str, tuple[str, float]] = {}

    def add(self, user: str, token: str) -> None:
        self._sweep()
        self._tokens[token] = (user, self._now() + self._ttl_s)

    def user_of(self, token: str) -> str | None:
        """Whose token it is; to use it makes it live on."""
        self._sweep()
        found = self._tokens.pop(token, None)
        if found is None:
            return None
        self._tokens[token] = (found[0], self._now() + self._ttl_s)
        return found[0]

    def forget(self, user: str) -> None:
        self._tokens = {t: entry for t, entry in self._tokens.items() if entry[0] != user}

    def forget_all(self) -> None:
        self._tokens.clear()

    def _sweep(self) -> None:
        now = self._now()
        while self._tokens:
            oldest = next(iter(self._tokens))
            if self._tokens[oldest][1] > now:
                return
            del self._tokens[oldest]
