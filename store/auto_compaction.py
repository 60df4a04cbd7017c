"""When history is compacted by itself. Source: etcd, --auto-compaction-mode and -retention.

Pure: time is passed in, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import deque

# Source: etcd, the revision mode looks every five minutes; the periodic one ten times a retention.
_REVISION_INTERVAL_S = 300.0
_SAMPLES = 10


class AutoCompactor:
    """Tells up to which revision history may go."""

    def __init__(self, mode: str, retention: float) -> None:
        """`retention` is in seconds for mode "periodic", in revisions for mode "revision"."""
        self._by_time = mode == "periodic"
        self._retention = retention
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def interval_s(self) -> float:
        """How often to ask."""
        return self._retention / _SAMPLES if self._by_time else _REVISION_INTERVAL_S

    def target(self, *, now: float, revision: int) -> int:
        """The revision to compact at; zero or less if it is too early."""
        if not self._by_time:
            return revision - int(self._retention)
        self._samples.append((now, revision))
        target = 0
        while self._samples and self._samples[0][0] <= now - self._retention:
            target = self._samples.popleft()[1]
        return target
