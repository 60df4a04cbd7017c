"""Explore or replay seeds: `python -m tests.sim --seed 41 --n 200 [--profile tcp]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from tests.sim.faults import PROFILES
from tests.sim.simulation import FAULTY_S, Report, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--n", type=int, default=1, help="number of seeds")
    parser.add_argument("--profile", choices=("all", *PROFILES), default="all")
    parser.add_argument("--seconds", type=float, default=FAULTY_S, help="virtual, with faults on")
    arguments = parser.parse_args()
    profiles = PROFILES if arguments.profile == "all" else (arguments.profile,)
    began = time.process_time()
    reports: list[Report] = []
    schedules = (
        (s, p) for s in range(arguments.seed, arguments.seed + arguments.n) for p in profiles
    )
    with contextlib.suppress(KeyboardInterrupt):  # a long run that is ended says how far it came
        for seed, profile in schedules:
            report = simulate(seed, profile, faulty_s=arguments.seconds)
            reports.append(report)
            if report.violations:
                print(report, flush=True)  # noqa: T201
    bad = sum(bool(report.violations) for report in reports)
    print(  # noqa: T201
        f"{len(reports)} runs, {bad} with violations; "
        f"{sum(r.acknowledged for r in reports)} writes acknowledged, "
        f"{sum(r.reads for r in reports)} linearizable reads, "
        f"{sum(r.faults for r in reports)} faults, {sum(r.crashes for r in reports)} crashes, "
        f"{sum(r.leaders for r in reports)} leaders, {sum(r.changes for r in reports)} changes of "
        f"membership, {sum(r.snapshots for r in reports)} snapshots installed, "
        f"{sum(r.leases for r in reports)} leases expired, "
        f"{sum(r.messages for r in reports)} messages, "
        f"{time.process_time() - began:.1f} s of CPU"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
