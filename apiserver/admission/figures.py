"""What /metrics says of admission: steps, plugins, webhooks, conditions and policies.

Source: upstream's admission/metrics and policy metrics (names, labels, buckets).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from kubraft.figures import Counter, Histogram

# "admit" and "validate" of steps and plugins.
Step = Literal["admit", "validate"]
ErrorType = Literal["no_error", "calling_webhook_error", "apiserver_internal_error"]
CODE_MAX: Final = 600

_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_WEBHOOK_SECONDS: Final = (*_SECONDS, 10.0, 25.0)
_CONDITION_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25)
_POLICY_SECONDS: Final = (0.0000005, 0.001, 0.01, 0.1, 1.0)
_PREFIX: Final = "apiserver_admission_"


@dataclass(slots=True)
class Conditions:
    """How match conditions came out: whether all hold, and how many have no value."""

    hold: bool = False
    failures: int = 0


class Took:
    """Measures the block of a `with`; whatever is raised in it counts as a refusal.

    Every write has some twenty of them: a class costs a quarter of a generator.
    """

    __slots__ = ("_began", "_histogram", "_labels", "_seconds")

    def __init__(
        self, histogram: Histogram, seconds: Callable[[], float], labels: tuple[str, ...]
    ) -> None:
        self._histogram = histogram
        self._seconds = seconds
        self._labels = labels

    def __enter__(self) -> None:
        self._began = self._seconds()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        rejected = "false" if kind is None else "true"
        self._histogram.observe(self._seconds() - self._began, *self._labels, rejected)


class AdmissionFigures:
    """One for an API server; `seconds` is a clock that only goes forward."""

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = seconds
        judged = ("type", "operation", "rejected")
        self._steps = Histogram(
            f"{_PREFIX}step_admission_duration_seconds",
            "Time of a whole step of admission, mutation or validation.",
            judged,
            _SECONDS,
        )
        self._plugins = Histogram(
            f"{_PREFIX}controller_admission_duration_seconds",
            "Time of one admission plugin.",
            ("name", *judged),
            _SECONDS,
        )
        self._webhooks = Histogram(
            f"{_PREFIX}webhook_admission_duration_seconds",
            "Time of one call of an admission webhook.",
            ("name", *judged),
            _WEBHOOK_SECONDS,
        )
        self._rejections = Counter(
            f"{_PREFIX}webhook_rejection_count",
            "Requests that an admission webhook, or its failure, has refused.",
            ("name", "type", "operation", "error_type", "rejection_code"),
        )
        self._open = Counter(
            f"{_PREFIX}webhook_fail_open_count",
            "Failures of admission webhooks that were passed over.",
            ("name", "type"),
        )
        self._requests = Counter(
            f"{_PREFIX}webhook_request_total",
            "Calls of admission webhooks.",
            ("name", "type", "operation", "code", "rejected"),
        )
        conditions = ("name", "kind", "type", "operation")
        self._condition_errors = Counter(
            f"{_PREFIX}match_condition_evaluation_errors_total",
            "Match conditions that have no value.",
            conditions,
        )
        self._exclusions = Counter(
            f"{_PREFIX}match_condition_exclusions_total",
            "Requests that match conditions have kept from a webhook or a policy.",
            conditions,
        )
        self._conditions = Histogram(
            f"{_PREFIX}match_condition_evaluation_seconds",
            "Time of the match conditions of a webhook or a policy.",
            conditions,
            _CONDITION_SECONDS,
        )
        validating = ("policy", "policy_binding", "error_type", "enforcement_action")
        self._checks = Counter(
            "apiserver_validating_admission_policy_check_total",
            "Validations of admission policies that denied, warned, were noted or failed.",
            validating,
        )
        self._check_seconds = Histogram(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "Time of one validation of an admission policy.",
            validating,
            _POLICY_SECONDS,
        )
        self._mutations = Counter(
            "apiserver_mutating_admission_policy_check_total",
            "Mutations of admission policies.",
            validating[:3],
        )
        self._mutation_seconds = Histogram(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "Time of one mutation of an admission policy.",
            validating[:3],
            _POLICY_SECONDS,
        )

    def step(self, step: Step, operation: str) -> Took:
        """Measures a whole step."""
        return Took(self._steps, self.seconds, (step, operation))

    def plugin(self, name: str, step: Step, operation: str) -> Took:
        """Measures what one plugin does in a step."""
        return Took(self._plugins, self.seconds, (name, step, operation))

    def called(
        self, asked: tuple[str, str, str], took: float, code: int, error: ErrorType | None
    ) -> None:
        """A webhook (name, type, operation) was asked; `error` where that ended the request."""
        rejected = "false" if error is None else "true"
        shown = str(min(code, CODE_MAX))
        self._requests.inc(*asked, shown, rejected)
        self._webhooks.observe(took, *asked, rejected)
        if error is not None:
            self._rejections.inc(*asked, error, shown)

    def failed_open(self, name: str, sort: str) -> None:
        """A webhook that could not be asked was passed over."""
        self._open.inc(name, sort)

    @contextmanager
    def conditions(self, *labels: str) -> Iterator[Conditions]:
        """Measures match conditions; labels are name, "webhook" or "policy", type, operation."""
        began, outcome = self.seconds(), Conditions()
        try:
            yield outcome
        finally:
            self._conditions.observe(self.seconds() - began, *labels)
            for _ in range(outcome.failures):
                self._condition_errors.inc(*labels)
            if not outcome.hold and not outcome.failures and labels[1] == "webhook":
                self._exclusions.inc(*labels)

    def checked(self, policy: tuple[str, str], error_type: str, action: str, took: float) -> None:
        """A validation of a policy and its binding was not simply true."""
        self._checks.inc(*policy, error_type, action)
        self._check_seconds.observe(took, *policy, error_type, action)

    def mutated(self, policy: tuple[str, str], error_type: str, took: float) -> None:
        """A policy and its binding have changed an object, or failed to."""
        self._mutations.inc(*policy, error_type)
        self._mutation_seconds.observe(took, *policy, error_type)

    def text(self) -> bytes:
        """All figures in Prometheus' text form."""
        lines = [line for figure in self._all() for line in figure.lines()]
        return "".join(f"{line}\n" for line in lines).encode()

    def _all(self) -> tuple[Counter | Histogram, ...]:
        return (
            *(self._steps, self._plugins, self._webhooks, self._rejections, self._open),
            *(self._requests, self._condition_errors, self._exclusions, self._conditions),
            *(self._checks, self._check_seconds, self._mutations, self._mutation_seconds),
        )
