"""`python -m store`, or `kubraft-etcd`: one member of the store, in place of `etcd`."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
import sys
from importlib import metadata
from typing import NoReturn

import uvloop

from kubraft.log import configure
from kubraft.standard_output import end_with_reader
from store import flag_table
from store.config import MemberConfig, parse
from store.flag_error import FlagError, UsageError
from store.member import Member
from store.member_error import MemberError
from store.rpc.maintenance import ETCD_VERSION

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Source: etcd, server/etcdmain (main.go).
_OTHER_COMMANDS = frozenset({"gateway", "grpc-proxy"})


async def run(config: MemberConfig) -> int:
    """Run a member until SIGTERM or SIGINT; returns which.

    Raises:
        MemberError: it could not start, or could not go on.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    signals: list[int] = []

    def end(number: int) -> None:
        signals.append(number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    member = Member(config)
    ending = asyncio.create_task(asked.wait())
    serving = asyncio.create_task(_serve(member))
    try:
        await asyncio.wait({ending, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        ending.cancel()
        serving.cancel()
        await asyncio.gather(ending, serving, return_exceptions=True)
        await member.stop()
    return signals[0]


async def _serve(member: Member) -> NoReturn:
    await member.start()
    # What lives now lives long; the collector need not look at it again and again.
    gc.freeze()
    raise await member.wait()


def main() -> int:
    end_with_reader()
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _OTHER_COMMANDS:
        print(f"store: {arguments[0]} is not part of this program", file=sys.stderr)  # noqa: T201
        return 2
    for argument in arguments:
        if argument in {"--version", "-version", "--version=true"}:
            print(_version())  # noqa: T201
            return 0
        if argument in {"--help", "-help", "-h", "--h"}:
            print(flag_table.usage())  # noqa: T201
            return 0
    try:
        config = parse(arguments, os.environ)
        configure(config.log_level)
        ended_by = uvloop.run(run(config))
    except (FlagError, MemberError) as error:
        print(f"store: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, UsageError) else 1
    _end_as(ended_by)
    return 0


def _version() -> str:
    """Source: etcd, server/etcdmain (config.go); scripts read the first line."""
    try:
        program = metadata.version("kubraft")
    except metadata.PackageNotFoundError:
        program = "unpackaged"
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    python = platform.python_version()
    return (
        f"etcd Version: {ETCD_VERSION}\n"
        f"Git SHA: kubraft-{program}\n"
        f"Go Version: none, this is Python {python}\n"
        f"Go OS/Arch: {platform.system().lower()}/{machine}"
    )


def _end_as(number: int) -> None:
    """End by the signal that was asked for, as etcd does, so that a parent sees which it was."""
    if os.getpid() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
