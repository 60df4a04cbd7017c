"""`python -m scripts.chaos --seed 7 --rounds 6`: hurt a cluster of its own, and check it.

After each round writes must be acknowledged again and all Pods be ready. At the end every write
that was acknowledged must be there, and all members must hold the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from kubraft.agent_main import first_cause
from kubraft.api.errors import ApiError
from kubraft.cli.cluster_probe import hashes
from kubraft.cli.cluster_status import read_status
from kubraft.cli.terminal import process_terminal
from kubraft.client.client import ApiClient
from kubraft.home import Home
from kubraft.log import configure
from scripts.chaos.faults import Fault, Kind, draw
from scripts.demo.narrator import ClaimError, Narrator, until
from scripts.demo.story import DEMO_NAMESPACE, MANIFEST, REPLICAS, Story, running_pods
from scripts.workload import WebClients, Writer

HEAL_S_MAX = 60.0
QUIET_S = 2.0  # between rounds


async def main(seed: int, rounds: int) -> int:
    rng = random.Random(seed)  # noqa: S311 - replayed by its seed
    with tempfile.TemporaryDirectory(prefix="kubraft-chaos-") as temporary:
        home = Home(Path(temporary) / "home")
        environment = os.environ | {"KUBRAFT_HOME": str(home.path), "KUBRAFT_PORTS": "auto"}
        tell = Narrator(process_terminal(), environment)
        tell.say(f"seed {seed}, {rounds} rounds: make chaos SEED={seed} ROUNDS={rounds}")
        try:
            await tell.command("up", quiet=True)
            await hurt(home, tell, rng, rounds)
        except (ClaimError, ApiError, ExceptionGroup) as error:
            cause = first_cause(error)
            if not isinstance(cause, (ClaimError, ApiError)):
                raise
            sys.stderr.write(f"chaos: seed {seed}: {cause}\n")
            return 1
        finally:
            with contextlib.suppress(ClaimError):
                await tell.command("down", quiet=True)
    return 0


async def hurt(home: Home, tell: Narrator, rng: random.Random, rounds: int) -> None:
    cluster = home.get_cluster()
    client = ApiClient(
        cluster.grpc, ca_file=home.pki / "ca.crt", token=home.token_file.read_text().strip()
    )
    web = WebClients.of(client, DEMO_NAMESPACE, "app=web")
    story = Story(tell, client, web, Writer(client, DEMO_NAMESPACE))
    try:
        await tell.command("apply", "-f", "-", stdin=MANIFEST.replace("VERSION", "v1"), quiet=True)
        await until(_healthy(story, 0.0), f"{REPLICAS} ready Pods", timeout_s=HEAL_S_MAX)
        async with asyncio.TaskGroup() as load:
            tasks = [load.create_task(story.writer.run()), load.create_task(web.run())]
            for number in range(1, rounds + 1):
                tell.chapter(f"Round {number} of {rounds}")
                await one_round(home, story, draw(rng, cluster))
                await asyncio.sleep(QUIET_S)
            for task in tasks:
                task.cancel()
        await judge(home, story)
    finally:
        await client.close()


async def one_round(home: Home, story: Story, fault: Fault) -> None:
    status = await asyncio.to_thread(read_status, home)
    views = {view["name"]: view for view in [*status["members"], *status["processes"]]}
    leader = next(member["name"] for member in status["members"] if member["role"] == "leader")
    targets = [leader if name == "leader" else name for name in fault.targets]
    story.tell.say(f"{fault} (the leader is {leader})")
    began_s = time.monotonic()
    if fault.kind is Kind.KILL:
        for name in targets:
            await story.tell.command("kill", name, quiet=True)
        await asyncio.sleep(fault.seconds)
        # All at once: two of three members need each other to become ready.
        await asyncio.gather(*(story.tell.command("start", name, quiet=True) for name in targets))
    else:
        number = signal.SIGKILL if fault.kind is Kind.CRASH else signal.SIGSTOP
        for name in targets:
            os.kill(views[name]["pid"], number)
        await asyncio.sleep(fault.seconds)
        if fault.kind is Kind.PAUSE:
            for name in targets:
                os.kill(views[name]["pid"], signal.SIGCONT)
    _, healed_s = await until(
        _healthy(story, time.monotonic()), "writes and all Pods ready", timeout_s=HEAL_S_MAX
    )
    gap_s = story.writer.longest_gap_s(began_s)
    story.tell.holds(f"healed {healed_s:.1f} s later; longest without a write: {gap_s:.1f} s")


def _healthy(story: Story, since_s: float) -> Callable[[], Awaitable[bool]]:
    """Whether all Pods are ready and, where `since_s` is not 0, something was written since."""

    async def condition() -> bool:
        with contextlib.suppress(ApiError):
            pods = await running_pods(story)
            wrote = not since_s or story.writer.acknowledged_since(since_s) > 0
            return len(pods) == REPLICAS and wrote
        return False

    return condition


async def judge(home: Home, story: Story) -> None:
    story.tell.chapter("Judgement")
    writer = story.writer
    lost = await writer.lost()
    story.tell.check(
        not lost,
        f"all {len(writer.acknowledged)} acknowledged writes are there, {writer.failed} failed",
        f"lost: {lost[:5]}",
    )

    async def same() -> bool:
        found = await hashes(home, home.get_cluster())
        return len(found) == len(home.get_cluster().members) and len(set(found.values())) == 1

    await until(same, "the same bytes on all members", timeout_s=HEAL_S_MAX)
    story.tell.holds("all members hold the same bytes")
    story.tell.say(
        f"{story.web.total} requests to Pods were answered, {len(story.web.failures)} were not"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    configure("error")
    sys.exit(asyncio.run(main(arguments.seed, arguments.rounds)))
