"""What was complained of lately, so that one cause is not logged at every attempt. Pure."""

from __future__ import annotations

from collections.abc import Hashable

WINDOW_S = 60.0
# Strangers who try something else each time are not written about without end, either.
COMPLAINTS_MAX = 20


class Complaints:
    """Says of a cause whether it is to be told: once a window, and only so many in one window."""

    def __init__(self) -> None:
        self._told: set[Hashable] = set()
        self._ends = 0.0

    def is_new(self, cause: Hashable, *, now: float) -> bool:
        """Whether to tell `cause` now, in seconds of any clock that does not go back."""
        if now >= self._ends:
            self._told.clear()
            self._ends = now + WINDOW_S
        if cause in self._told or len(self._told) >= COMPLAINTS_MAX:
            return False
        self._told.add(cause)
        return True
