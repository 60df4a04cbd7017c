"""Probes: their thresholds as a small state machine, and how a result reads.

Pure; who runs the probes is in prober.py.

Source: Kubernetes documentation, "Liveness, Readiness, and Startup Probes"; API reference, Probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


class Kind(Enum):
    """Which probe of a container; the value is its word in events."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"

    @property
    def field(self) -> str:
        """Its field in the container's spec."""
        return f"{self.value.lower()}Probe"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try."""

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """A probe's numbers, with the API's defaults."""

    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


def timing(spec: Mapping[str, Any]) -> Timing:
    """Read the numbers of a Probe."""
    return Timing(
        initial_delay_s=spec.get("initialDelaySeconds") or 0,
        period_s=spec.get("periodSeconds") or 10,
        timeout_s=spec.get("timeoutSeconds") or 1,
        success_threshold=spec.get("successThreshold") or 1,
        failure_threshold=spec.get("failureThreshold") or 3,
    )


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What is known of one probe of one life of a container.

    `healthy` changes only after as many equal outcomes in a row as the threshold says.
    """

    healthy: bool
    successes: int = 0
    failures: int = 0

    def after(self, outcome: Outcome, numbers: Timing) -> ProbeState:
        """The state after one more outcome."""
        if outcome.success:
            successes = self.successes + 1
            healthy = self.healthy or successes >= numbers.success_threshold
            return replace(self, healthy=healthy, successes=successes, failures=0)
        failures = self.failures + 1
        healthy = self.healthy and failures < numbers.failure_threshold
        return replace(self, healthy=healthy, successes=0, failures=failures)

    def has_failed(self, numbers: Timing) -> bool:
        """Whether failures in a row have reached the threshold."""
        return self.failures >= numbers.failure_threshold


def initial_state(kind: Kind, *, was_ready: bool) -> ProbeState:
    """Before the first outcome: alive, not started; ready only if it was before (re-adoption)."""
    match kind:
        case Kind.LIVENESS:
            return ProbeState(healthy=True)
        case Kind.STARTUP:
            return ProbeState(healthy=False)
        case Kind.READINESS:
            return ProbeState(healthy=was_ready)


def killing_message(kind: Kind, container: str) -> str:
    """How the Killing event begins when this probe has failed for good."""
    return f"Container {container} failed {kind.value.lower()} probe"
