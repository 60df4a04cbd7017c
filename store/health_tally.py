"""How the health checks of a member went; what probes count and metrics show."""

from __future__ import annotations


class HealthTally:
    """Outcomes of health checks so far."""

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
