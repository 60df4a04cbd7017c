"""How many requests may be under way at once; watches and logs are not counted, as upstream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kubraft.api.errors import TooManyRequestsError

# Source: kube-apiserver, --max-requests-inflight and --max-mutating-requests-inflight together.
REQUESTS_MAX = 600
RETRY_AFTER_S = 1


class InFlight:
    """Counts; one event loop uses it."""

    def __init__(self, most: int = REQUESTS_MAX) -> None:
        self._most = most
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises TooManyRequestsError where there is no room."""
        if self.count >= self._most:
            raise TooManyRequestsError(
                "too many requests, please try again later", retry_after_s=RETRY_AFTER_S
            )
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
