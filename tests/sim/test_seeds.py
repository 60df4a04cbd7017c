"""The simulation in the test suite: a few hundred seeds, and those that found bugs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.sim.faults import PROFILES
from tests.sim.simulation import simulate

pytestmark = pytest.mark.sim

# 10 profiles x 40 seeds; each chunk is a test of its own, so that workers share them.
CHUNKS = 4
CHUNK_SEEDS = 10
REGRESSIONS = tomllib.loads((Path(__file__).parent / "regressions.toml").read_text())["seed"]


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("profile", PROFILES)
def test_no_guarantee_breaks(profile: str, chunk: int) -> None:
    acknowledged = 0
    for seed in range(chunk * CHUNK_SEEDS, (chunk + 1) * CHUNK_SEEDS):
        report = simulate(seed, profile)
        assert not report.violations, str(report)
        acknowledged += report.acknowledged
    assert acknowledged > 20 * CHUNK_SEEDS


@pytest.mark.parametrize(
    ("seed", "profile"),
    [pytest.param(known["seed"], known["profile"], id=known["bug"]) for known in REGRESSIONS],
)
def test_seed_that_found_a_bug_stays_clean(seed: int, profile: str) -> None:
    report = simulate(seed, profile)
    assert not report.violations, str(report)


def test_same_seed_gives_the_same_run_in_another_process() -> None:
    program = "from tests.sim.simulation import simulate; print(repr(simulate(3, 'churn')))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": number, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for number in ("1", "2")
    ]
    assert runs == [repr(simulate(3, "churn"))] * 2
