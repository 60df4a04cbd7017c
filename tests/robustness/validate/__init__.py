"""Judging a history: named validators, each of one guarantee."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.robustness.history import History
from tests.robustness.timeline import ContradictionError, Timeline
from tests.robustness.validate import jepsen, reading, watching, writing

Validator = Callable[[History, Timeline], Iterator[str]]

VALIDATORS: tuple[Validator, ...] = (
    watching.ordered,
    watching.unique,
    watching.atomic,
    watching.reliable,
    watching.resumable,
    watching.bookmarkable,
    watching.filtered,
    watching.previous_value,
    watching.is_create,
    watching.compacted,
    writing.complete,
    writing.durable,
    writing.once,
    writing.explained,
    writing.guarded,
    writing.leased,
    writing.converged,
    writing.same_hash,
    reading.consistent,
    reading.refused,
    reading.in_real_time,
    reading.linearizable,
    jepsen.whole_sets,
    jepsen.strictly_serializable,
    jepsen.locked,
    jepsen.fenced,
)


@dataclass(frozen=True, slots=True)
class Violation:
    """A guarantee that was broken, and how."""

    guarantee: str
    what: str

    def __str__(self) -> str:
        return f"{self.guarantee}: {self.what}"


def judge(history: History) -> list[Violation]:
    """All that is wrong with a history; nothing if it kept every guarantee."""
    try:
        timeline = Timeline(event for watch in history.watches for event in watch.events)
    except ContradictionError as error:
        return [Violation("one history", str(error))]
    return [
        Violation(validator.__name__.replace("_", " "), what)
        for validator in VALIDATORS
        for what in validator(history, timeline)
    ]
