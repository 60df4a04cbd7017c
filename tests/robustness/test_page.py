"""docs/robustness.md names the faults and validators that there are."""

import re
from pathlib import Path

from tests.robustness.faults import FAULTS
from tests.robustness.validate import VALIDATORS

PAGE = (Path(__file__).parents[2] / "docs/robustness.md").read_text()


def named(title: str) -> set[str]:
    """Names in the table under a title."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return set(re.findall(r"`(\w+)`", "\n".join(rows)))


def test_the_page_lists_every_fault() -> None:
    assert named("What is done to members") == {fault.__name__ for fault in FAULTS}


def test_the_page_lists_every_validator() -> None:
    assert named("What is judged") == {validator.__name__ for validator in VALIDATORS}
