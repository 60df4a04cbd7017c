"""Short runs of the suite: some faults of each family, and every guarantee judged."""

import asyncio
from pathlib import Path

import pytest

from tests.robustness.faults import (
    clock,
    disk,
    maintenance,
    membership,
    network,
    possible,
    processes,
)
from tests.robustness.report import figures, keep, tell
from tests.robustness.run import Plan, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PLAIN = Plan(
    seed=1,
    faults=(
        processes.kill_leader,
        network.mute_leader,
        disk.flip_bit_of_log,
        maintenance.kill_while_defragmenting,
        processes.kill_all,
    ),
    fault_s=2.0,
    rest_s=1.0,
)
ENCRYPTED = Plan(
    seed=2,
    faults=(
        disk.fail_sync,
        clock.scatter_clocks,
        network.isolate_leader,
        membership.replace_member,
    ),
    fault_s=1.5,
    rest_s=1.0,
    tls=True,
)
KEPT = Path(".artifacts/robustness")


@pytest.mark.parametrize("plan", [PLAIN, ENCRYPTED], ids=["plain text", "TLS"])
def test_every_guarantee_holds_through_faults(tmp_path: Path, plan: Plan) -> None:
    if not set(plan.faults) <= set(possible()):
        pytest.skip("faults of disk and clock need a C compiler")
    data = tmp_path / "cluster"
    data.mkdir()
    outcome = asyncio.run(run(plan, data))
    if outcome.violations:
        pytest.fail(f"{tell(outcome.violations)}\n{keep(outcome, data, KEPT)}")
    history = outcome.history
    assert sum(call.is_known for call in history.calls) > 200, figures(history)
    assert sum(len(watch.responses) for watch in history.watches) > 100, figures(history)
