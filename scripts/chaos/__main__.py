"""`python -m scripts.chaos --minutes 10 --seed 7`: hurt a cluster of its own, and check it.

Processes of every kind are killed and paused, one after another, while clients ask an application,
others write, and users declare, change and delete workloads. At the end every declared object has
converged, every acknowledged write is there, and all members hold the same bytes. What is done,
and when it is begun, is drawn from the seed; processes keep their own time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from kubraft.agent_main import first_cause
from kubraft.api.errors import ApiError
from kubraft.cli.terminal import process_terminal
from kubraft.client.client import ApiClient
from kubraft.home import Home
from kubraft.log import configure
from scripts.chaos.soak import Soak
from scripts.demo.narrator import ClaimError, Narrator


async def main(seed: int, minutes: float, keep: str) -> int:
    temporary = Path(tempfile.mkdtemp(prefix="kubraft-chaos-"))
    home = Home(temporary / "home")
    environment = os.environ | {"KUBRAFT_HOME": str(home.path), "KUBRAFT_PORTS": "auto"}
    environment["KUBRAFT_UNTIL_PID"] = str(os.getpid())
    tell = Narrator(process_terminal(), environment)
    tell.say(f"seed {seed}, {minutes:g} minutes: make chaos SEED={seed} MINUTES={minutes:g}")
    try:
        await tell.command("up", "--nodes=3", "--apiservers=2", quiet=True)
        await _soak(home, tell, seed, minutes)
    except (ClaimError, ApiError, ExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, (ClaimError, ApiError)):
            raise
        sys.stderr.write(f"chaos: seed {seed}: {cause}\n")
        if keep:
            await _keep(tell, home, Path(keep))
        return 1
    finally:
        with contextlib.suppress(ClaimError):
            await tell.command("down", quiet=True)
        shutil.rmtree(temporary, ignore_errors=True)
    return 0


async def _soak(home: Home, tell: Narrator, seed: int, minutes: float) -> None:
    client = ApiClient(
        home.get_cluster().grpc,
        ca_file=home.pki / "ca.crt",
        token=home.token_file.read_text().strip(),
    )
    try:
        await Soak(home, tell, client, seed, minutes * 60).run()
    finally:
        await client.close()


async def _keep(tell: Narrator, home: Home, directory: Path) -> None:
    """The logs of a failed run, and its objects, for who looks for the cause."""
    await asyncio.to_thread(shutil.copytree, home.logs, directory / "logs", dirs_exist_ok=True)
    for kinds in ("pods", "events", "deployments,replicasets,statefulsets,daemonsets,jobs"):
        with contextlib.suppress(ClaimError):
            found = await tell.command("get", kinds, "-A", "-o", "json", quiet=True, silent=True)
            file = directory / f"{kinds.partition(',')[0]}.json"
            await asyncio.to_thread(file.write_text, found)
    sys.stderr.write(f"chaos: logs and objects are in {directory}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--keep", default=".artifacts/chaos", help="where a failed run is kept")
    arguments = parser.parse_args()
    configure("error")
    sys.exit(asyncio.run(main(arguments.seed, arguments.minutes, arguments.keep)))
