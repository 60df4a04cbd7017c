"""A short run of the suite: some faults of each family, and every guarantee judged."""

import asyncio
from pathlib import Path

import pytest

from tests.robustness import faults
from tests.robustness.report import figures, keep, tell
from tests.robustness.run import Plan, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FAULTS = (faults.kill_leader, faults.mute_leader, faults.flip_bit_of_log, faults.kill_all)
KEPT = Path(".artifacts/robustness")


def test_every_guarantee_holds_through_faults(tmp_path: Path) -> None:
    data = tmp_path / "cluster"
    data.mkdir()
    plan = Plan(seed=1, faults=FAULTS, fault_s=2.0, rest_s=1.5)
    outcome = asyncio.run(run(plan, data))
    if outcome.violations:
        pytest.fail(f"{tell(outcome.violations)}\n{keep(outcome, data, KEPT)}")
    history = outcome.history
    assert sum(call.is_known for call in history.calls) > 300, figures(history)
    assert sum(len(watch.responses) for watch in history.watches) > 100, figures(history)
