"""docs/robustness.md names the scenarios that there are."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/robustness.md"
ISSUES = (
    *("13766", "14370", "14571", "14685", "15220", "15271", "17247", "17529"),
    *("17780", "18055", "18089", "18667", "19179", "20221", "20271", "20418"),
)


def test_the_page_lists_every_scenario_and_no_other() -> None:
    found: set[str] = set()
    for module in HERE.glob("test_*.py"):
        found |= set(re.findall(r"def (test_\d{5}_\w+)", module.read_text()))
    assert found == set(re.findall(r"`(test_\d{5}_\w+)`", PAGE.read_text()))
    assert sorted({name.split("_")[1] for name in found}) == list(ISSUES)
