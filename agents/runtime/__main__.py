"""`python -m agents.runtime`: the embedded CRI runtime of one node."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with one line and status 2."""
    parser = argparse.ArgumentParser(
        prog="agents.runtime", description="Runs Pods' containers as supervised host processes."
    )
    parser.add_argument("--listen", required=True, metavar="unix:///PATH", help="CRI endpoint")
    parser.add_argument("--root-dir", required=True, type=Path, help="state and containers' files")
    parser.add_argument(
        "--pod-cidr",
        default="127.64.0.0/24",
        type=ipaddress.IPv4Network,
        help="loopback range that Pods' addresses come from (%(default)s)",
    )
    parser.add_argument(
        "--isolation",
        choices=("auto", "none"),
        default="auto",
        help="auto: mount and PID namespaces where this user may have them; none: never",
    )
    parser.add_argument(
        "--masked-path",
        action="append",
        default=[],
        help="a directory that containers see empty, for example the cluster's keys (repeatable)",
    )
    parser.add_argument("--log-level", default="info", help="debug, info, warning or error")
    flags = parser.parse_args(argv)
    if not flags.listen.startswith("unix:///"):
        parser.error(f"argument --listen: {flags.listen} does not begin with unix:///")
    if len(flags.listen.removeprefix("unix://")) > 107:
        parser.error(f"argument --listen: {flags.listen}: a socket's path has at most 107 bytes")
    return flags


def main() -> None:
    """Run until SIGTERM; exit status 1 with one line where it cannot start or go on."""
    flags = parse_flags(sys.argv[1:])
    import asyncio  # noqa: PLC0415 - after the flags: a mistake is answered at once

    from agents.runtime.server import ServeError, serve  # noqa: PLC0415

    try:
        asyncio.run(serve(flags))
    except ServeError as error:
        print(f"agents.runtime: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
