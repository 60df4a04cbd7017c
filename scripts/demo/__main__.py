"""`python -m scripts.demo`: on the cluster that runs, or on one of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from kubraft.agent_main import first_cause
from kubraft.api.errors import ApiError
from kubraft.cli.terminal import process_terminal
from kubraft.client.client import ApiClient
from kubraft.home import Home
from kubraft.log import configure
from kubraft.supervisor.pid_file import find_running
from scripts.demo.narrator import ClaimError, Narrator
from scripts.demo.story import DEMO_NAMESPACE, Story, restore, tell_story
from scripts.workload import WebClients, Writer


async def main() -> int:
    home = Home.from_environment()
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="kubraft-demo-") as temporary:
        own = find_running(home.pid_file) is None
        if own:
            home = Home(Path(temporary) / "home")
            environment |= {"KUBRAFT_HOME": str(home.path), "KUBRAFT_PORTS": "auto"}
        tell = Narrator(process_terminal(), environment)
        try:
            if own:
                tell.chapter("A cluster of its own")
                await tell.command("up")
            await on_cluster(home, tell)
        except (ClaimError, ApiError, ExceptionGroup) as error:
            cause = first_cause(error)
            if not isinstance(cause, (ClaimError, ApiError)):
                raise
            sys.stderr.write(f"demo: {cause}\n")
            return 1
        finally:
            if own and find_running(home.pid_file) is not None:
                await tell.command("down")
        return 0


async def on_cluster(home: Home, tell: Narrator) -> None:
    """Tell the story on the cluster of `home`; leaves it as it was."""
    client = ApiClient(
        home.get_cluster().grpc,
        ca_file=home.pki / "ca.crt",
        token=home.token_file.read_text().strip(),
        field_manager="demo",
    )
    web = WebClients.of(client, DEMO_NAMESPACE, "app=web")
    story = Story(tell, client, web, Writer(client, DEMO_NAMESPACE))
    try:
        try:
            await tell_story(story)
        finally:
            await restore(story)
    finally:
        await client.close()
    tell.say(f"all {tell.claims} claims held")


if __name__ == "__main__":
    configure("error")
    sys.exit(asyncio.run(main()))
