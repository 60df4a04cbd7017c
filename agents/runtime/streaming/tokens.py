"""Requests that wait for their client: each is good once, and for a minute. No I/O.

Source: `k8s.io/kubelet` cri/streaming, the request cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

COUNT_MAX: Final = 1000
LIFETIME_S: Final = 60.0

_Request = TypeVar("_Request")


class TokensExhaustedError(Exception):
    """Too many requests wait."""


class Tokens(Generic[_Request]):
    """The requests, by tokens that nobody can guess."""

    def __init__(self, now_s: Callable[[], float], new_token: Callable[[], str]) -> None:
        self._now_s = now_s
        self._new_token = new_token
        self._requests: dict[str, tuple[float, _Request]] = {}  # the oldest first

    def put(self, request: _Request) -> str:
        """The token of `request`.

        Raises:
            TokensExhaustedError: too many wait.
        """
        self._drop_old()
        if len(self._requests) >= COUNT_MAX:
            raise TokensExhaustedError("maximum number of in-flight requests exceeded")
        token = self._new_token()
        self._requests[token] = (self._now_s() + LIFETIME_S, request)
        return token

    def take(self, token: str) -> _Request | None:
        """The request of `token`, once; None where there is none, or it is too old."""
        self._drop_old()
        found = self._requests.pop(token, None)
        return found[1] if found else None

    def _drop_old(self) -> None:
        now_s = self._now_s()
        for token, (until_s, _request) in list(self._requests.items()):
            if until_s > now_s:
                break
            del self._requests[token]
