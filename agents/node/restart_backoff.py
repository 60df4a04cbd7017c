"""How long a container that ended must wait before it is started again.

The first restart is immediate; then 10 s, doubling to 5 min. Who stayed up twice the longest delay
begins anew. Also used for image pulls.

Source: Kubernetes documentation, "Pod Lifecycle", container restart policy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Entry:
    delay_s: float
    updated_at_s: float


class RestartBackoff:
    """Delays by key; all times are the caller's, in seconds of one clock."""

    def __init__(self, base_s: float = 10.0, max_s: float = 300.0) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._entries: dict[str, _Entry] = {}

    def remaining_s(self, key: str, failed_at_s: float, now_s: float) -> float:
        """Seconds until `key`, which failed at `failed_at_s`, may try again; 0 if it may now."""
        entry = self._fresh(key, failed_at_s)
        if entry is None:
            return 0.0
        # A clock that jumped back must not make the wait longer than the delay itself.
        return min(max(0.0, failed_at_s + entry.delay_s - now_s), entry.delay_s)

    def delay_s(self, key: str) -> float:
        """The delay in force for `key`; 0 where there is none."""
        entry = self._entries.get(key)
        return entry.delay_s if entry else 0.0

    def next(self, key: str, failed_at_s: float, now_s: float) -> None:
        """`key` tries again now: should it fail, the next wait is longer."""
        entry = self._fresh(key, failed_at_s)
        delay_s = min(entry.delay_s * 2, self._max_s) if entry else self._base_s
        self._entries[key] = _Entry(delay_s, now_s)

    def reset(self, key: str) -> None:
        """`key` succeeded."""
        self._entries.pop(key, None)

    def _fresh(self, key: str, failed_at_s: float) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None or failed_at_s - entry.updated_at_s > 2 * self._max_s:
            return None
        return entry
