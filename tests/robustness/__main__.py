"""`python -m tests.robustness --seed 7 --rounds 4`: hurt store clusters, and judge what they say.

Every round has a cluster and a seed of its own. A round that broke a guarantee is kept whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.robustness.faults import FAULTS, Fault, possible
from tests.robustness.history import load
from tests.robustness.report import Totals, figures, keep, tell
from tests.robustness.run import Plan, draw, run
from tests.robustness.validate import judge

_BY_NAME = {fault.__name__: fault for fault in FAULTS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="first seed")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--hours", type=float, default=0.0, help="run on for so long instead")
    parser.add_argument("--count", type=int, default=8, help="faults a round")
    parser.add_argument("--faults", type=_faults, help=f"these, of {', '.join(_BY_NAME)}")
    parser.add_argument("--keep", type=Path, default=Path(".artifacts/robustness"))
    parser.add_argument("--judge", type=Path, help="only judge a history that was kept")
    arguments = parser.parse_args()
    if arguments.judge:
        return _judge(arguments.judge)
    if left_out := set(arguments.faults or FAULTS) - set(possible()):
        _say(f"no C compiler, so without {', '.join(sorted(f.__name__ for f in left_out))}")
        arguments.faults = tuple(f for f in arguments.faults or () if f in possible()) or None
    deadline = time.monotonic() + arguments.hours * 3600
    totals = Totals()
    seed = arguments.seed
    # However it is ended, no member stays behind and what was done is told.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        while totals.rounds < arguments.rounds or time.monotonic() < deadline:
            plan = draw(seed, arguments.count)
            if arguments.faults:
                plan = dataclasses.replace(plan, faults=arguments.faults)
            _round(plan, arguments.keep, totals)
            seed += 1
    _say(str(totals))
    return bool(totals.failed)


def _round(plan: Plan, kept: Path, totals: Totals) -> None:
    with tempfile.TemporaryDirectory(prefix="kubraft-robustness-") as temporary:
        data = Path(temporary) / "cluster"
        data.mkdir()
        faults = ", ".join(fault.__name__ for fault in plan.faults)
        how = "TLS" if plan.tls else "plain text"
        _say(f"seed {plan.seed}, {plan.members} members, {how}: {faults}")
        outcome = asyncio.run(run(plan, data))
        _say(f"  {figures(outcome.history)}, {outcome.snapshots} snapshots installed")
        if outcome.violations:
            _say(f"{tell(outcome.violations)}\n{keep(outcome, data, kept)}")
    totals.add(outcome)


def _judge(file: Path) -> int:
    try:
        history = load(file)
    except OSError as error:
        _say(f"--judge {file}: {error.strerror}")
        return 2
    except (ValueError, KeyError, TypeError) as error:
        _say(f"--judge {file}: not a history of this version: {error!r}")
        return 2
    violations = judge(history)
    _say(f"{figures(history)}\n{tell(violations) or '  every guarantee held'}")
    return bool(violations)


def _faults(text: str) -> tuple[Fault, ...]:
    unknown = [name for name in text.split(",") if name not in _BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}")
    return tuple(_BY_NAME[name] for name in text.split(","))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
