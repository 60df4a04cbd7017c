"""What a run says of itself, and what it keeps of a round that failed."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path

from tests.robustness.history import History
from tests.robustness.run import Outcome
from tests.robustness.validate import Violation
from tests.robustness.validate.jepsen import overlaps

HISTORY_FILE = "history.jsonl"
_SHOWN_MAX = 20


def figures(history: History) -> str:
    """What was checked, in a line."""
    known = sum(call.is_known for call in history.calls)
    names = collections.Counter(call.name for call in history.calls if call.is_known)
    parts = ", ".join(f"{count} {name}" for name, count in sorted(names.items()))
    events = sum(1 for watch in history.watches for _ in watch.events)
    bookmarks = sum(r.progress for watch in history.watches for r in watch.responses)
    given, together = overlaps(history)
    return (
        f"{known} operations ({parts}), {len(history.calls) - known} of unknown outcome, "
        f"{history.final_revision} revisions, {len(history.watches)} watches with {events} events "
        f"and {bookmarks} bookmarks, {len(history.lists)} list txns, {given} locks given, "
        f"{together} of them while another client still believed in its own"
    )


def tell(violations: list[Violation]) -> str:
    """The violations, a line each, not too many."""
    lines = [f"  {violation}" for violation in violations[:_SHOWN_MAX]]
    if len(violations) > _SHOWN_MAX:
        lines.append(f"  and {len(violations) - _SHOWN_MAX} more")
    return "\n".join(lines)


def keep(outcome: Outcome, data: Path, directory: Path) -> str:
    """Move a round that failed where it stays; says how to look at it and how to play it again."""
    seed = outcome.plan.seed
    place = directory / f"seed-{seed}"
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(data, place)
    outcome.history.save(place / HISTORY_FILE)
    faults = ",".join(fault.__name__ for fault in outcome.plan.faults)
    return (
        f"kept in {place}: history, logs and data of the members\n"
        f"judge it again: python -m tests.robustness --judge {place / HISTORY_FILE}\n"
        f"play it again:  python -m tests.robustness --seed {seed} --rounds 1 --faults {faults}"
    )


class Totals:
    """Sums over rounds."""

    def __init__(self) -> None:
        self.rounds = 0
        self.failed = 0
        self.operations = 0
        self.unknown = 0
        self.events = 0
        self.watches = 0
        self.snapshots = 0
        self.list_txns = 0
        self.locks = 0
        self.overlaps = 0
        self.faults: collections.Counter[str] = collections.Counter()

    def add(self, outcome: Outcome) -> None:
        calls = outcome.history.calls
        known = sum(call.is_known for call in calls)
        self.rounds += 1
        self.failed += bool(outcome.violations)
        self.operations += known
        self.unknown += len(calls) - known
        self.watches += len(outcome.history.watches)
        self.events += sum(1 for watch in outcome.history.watches for _ in watch.events)
        self.snapshots += outcome.snapshots
        self.list_txns += len(outcome.history.lists)
        given, together = overlaps(outcome.history)
        self.locks += given
        self.overlaps += together
        self.faults.update(fault.__name__ for fault in outcome.plan.faults)

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.rounds} schedules and histories, {self.failed} with violations; "
            f"{self.operations} operations and {self.unknown} of unknown outcome; "
            f"{self.watches} watches, {self.events} events; {self.list_txns} list txns; "
            f"{self.locks} locks given, {self.overlaps} of them while another still believed in "
            f"its own; {self.snapshots} snapshots installed; {self.faults.total()} faults: {faults}"
        )
