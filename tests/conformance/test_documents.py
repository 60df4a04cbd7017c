"""docs/etcd-compatibility.md says what the comparisons allow, no more and no less."""

from pathlib import Path

from tests.conformance.newer import IN_SCRIPTS, NEWER

DOCUMENT = Path(__file__).parents[2] / "docs" / "etcd-compatibility.md"


def first_cells(heading: str) -> list[str]:
    """The first column of the table under a heading."""
    section = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    return [row.removeprefix("| ").strip() for row in rows[1:]]


def test_all_that_follows_a_later_etcd_is_listed() -> None:
    listed = first_cells("Where we follow a later etcd")
    assert listed == [*(newer.what for newer in NEWER), *IN_SCRIPTS]
