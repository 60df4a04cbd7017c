"""docs/etcd-compatibility.md says what the comparisons allow, no more and no less."""

from pathlib import Path

from tests.conformance.newer import IN_SCRIPTS, NEWER

DOCUMENT = Path(__file__).parents[2] / "docs" / "etcd-compatibility.md"


def table(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, row by row, without its head."""
    section = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows[1:]]


def test_all_that_follows_a_later_etcd_is_listed() -> None:
    listed = [cells[0] for cells in table("Where we follow a later etcd")]
    assert listed == [*(newer.what for newer in NEWER), *IN_SCRIPTS]
