from __future__ import annotations

import pytest

from agents.controllers.deployment.revision import REVISION, REVISION_HISTORY, renumbered


@pytest.mark.parametrize(
    ("before", "revision", "after"),
    [
        pytest.param({}, 1, {REVISION: "1"}, id="first"),
        pytest.param({REVISION: "3"}, 3, {REVISION: "3"}, id="already that"),
        pytest.param({REVISION: "5"}, 3, {REVISION: "5"}, id="never lower"),
        pytest.param(
            {REVISION: "1"}, 3, {REVISION: "3", REVISION_HISTORY: "1"}, id="rolled back to"
        ),
        pytest.param(
            {REVISION: "3", REVISION_HISTORY: "1"},
            5,
            {REVISION: "5", REVISION_HISTORY: "1,3"},
            id="rolled back to twice",
        ),
    ],
)
def test_revisions_only_rise(before: dict[str, str], revision: int, after: dict[str, str]) -> None:
    assert renumbered(before, revision) == after


def test_the_history_stays_short() -> None:
    annotations: dict[str, str] = {}
    for revision in range(1, 1200):
        annotations = renumbered(annotations, revision)
    assert len(annotations[REVISION_HISTORY]) <= 2000
    assert annotations[REVISION_HISTORY].endswith(",1198")
