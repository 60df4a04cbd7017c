"""`python -m store`: one member of the store, with etcd's flags."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys

import uvloop

from kubraft.log import configure
from store.config import MemberConfig, parse
from store.flags import FlagError
from store.member import Member, MemberError
from store.rpc.maintenance import ETCD_VERSION


async def run(config: MemberConfig) -> None:
    """Run a member until SIGTERM or SIGINT.

    Raises:
        MemberError: it could not start, or could not go on.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    member = Member(config)
    try:
        await member.start()
        # What lives now lives long; the collector need not look at it again and again.
        gc.freeze()
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(member.wait())
        done, _ = await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.cancel()
        if failing in done:
            raise failing.result()
    finally:
        await member.stop()


def main() -> int:
    if sys.argv[1:] in (["--version"], ["-version"]):
        print(f"etcd Version: {ETCD_VERSION}")  # noqa: T201
        return 0
    try:
        config = parse(sys.argv[1:], os.environ)
        configure(config.log_level)
        uvloop.run(run(config))
    except (FlagError, MemberError) as error:
        print(f"store: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except ValueError as error:
        print(f"store: --log-level: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
