"""Sets of completion indexes in the text form of a Job's status: "1,3-5,7".

Source: Kubernetes API reference, JobStatus.completedIndexes.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

Indexes = frozenset[int]


def parse_indexes(text: str | None, completions: int) -> Indexes:
    """The indexes below `completions` that `text` names; what cannot be read is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if first.isdigit() and (not dash or last.isdigit()):
            end = int(last) if dash else int(first)
            found.update(range(int(first), min(end + 1, completions)))
    return frozenset(found)


def format_indexes(indexes: Iterable[int]) -> str:
    """The text of `indexes`: runs of three and more with a hyphen, as upstream."""
    parts: list[str] = []
    for first, last in _runs(sorted(indexes)):
        if last - first > 1:
            parts.append(f"{first}-{last}")
        else:
            parts += [str(index) for index in range(first, last + 1)]
    return ",".join(parts)


def lowest_missing(taken: AbstractSet[int], count: int, completions: int) -> list[int]:
    """The first `count` indexes below `completions` that are not in `taken`."""
    missing: list[int] = []
    for index in range(completions):
        if len(missing) >= count:
            break
        if index not in taken:
            missing.append(index)
    return missing


def _runs(ordered: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in ordered:
        if runs and runs[-1][1] + 1 == index:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
