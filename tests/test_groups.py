"""Tests of one group run on one worker: plugins that disagree lose the groups silently."""

import subprocess
import sys
from pathlib import Path

GROUPED = """
import os
from pathlib import Path
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_it(number):
    with Path({seen!r}).open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_a_group_stays_on_one_worker(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "test_grouped.py").write_text(GROUPED.format(seen=str(seen)))
    subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--rootdir", ".", "."],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    workers = seen.read_text().split()
    assert len(workers) == 12
    assert len(set(workers)) == 1
