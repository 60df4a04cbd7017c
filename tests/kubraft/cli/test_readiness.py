from __future__ import annotations

from pathlib import Path

import pytest

from kubraft.cli.readiness import Crashes, _check
from kubraft.home import Home
from kubraft.supervisor.daemon import DaemonError


def view(restarts: int, state: str = "running") -> dict[str, object]:
    return {"name": "store-1", "state": state, "restarts": restarts, "exit": "SIGKILL"}


def test_crashes_of_the_past_are_over(tmp_path: Path) -> None:
    crashes = Crashes()
    for restarts in (7, 7, 8, 10):
        _check(Home(tmp_path), view(restarts), crashes)
    with pytest.raises(DaemonError, match=r"store-1 keeps crashing \(SIGKILL\): no log"):
        _check(Home(tmp_path), view(11), crashes)


def test_who_was_killed_meanwhile_will_not_become_ready(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="store-1 was killed before it was ready"):
        _check(Home(tmp_path), view(0, "killed"), Crashes())
