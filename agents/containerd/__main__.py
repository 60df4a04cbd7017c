"""`python -m agents.containerd`: a containerd of one node, with its files, network and images."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with one line and status 2."""
    parser = argparse.ArgumentParser(
        prog="agents.containerd", description="Runs a containerd of its own for one node."
    )
    add = parser.add_argument
    add("--listen", required=True, metavar="unix:///PATH", help="containerd's socket")
    add("--root-dir", required=True, type=Path, help="containerd's data and configuration")
    add("--image-dir", type=Path, help="where the built-in images are kept (below --root-dir)")
    add("--pod-cidr", required=True, type=ipaddress.IPv4Network, help="addresses of Pods")
    add("--bridge", required=True, help="name of the Pods' bridge, at most 15 bytes")
    add("--cgroup-root", required=True, help="cgroup of the Pods, to be removed at the end")
    add(
        "--local-range",
        type=ipaddress.IPv4Network,
        help="addresses of Services, to be made this machine's own",
    )
    add("--snapshotter", default="overlayfs", choices=("overlayfs", "native"))
    add("--offline", action="store_true", help="ask no registry for images")
    add("--remove", action="store_true", help="only remove what a killed one has left; then end")
    add("--log-level", default="info", help="debug, info, warning or error")
    flags = parser.parse_args(argv)
    if not flags.listen.startswith("unix:///"):
        parser.error(f"argument --listen: {flags.listen} does not begin with unix:///")
    if len(flags.listen.removeprefix("unix://")) > 90:  # containerd adds ".ttrpc"
        parser.error(f"argument --listen: {flags.listen}: a socket's path has at most 90 bytes")
    if not 1 <= len(flags.bridge) <= 15:
        parser.error(f"argument --bridge: {flags.bridge}: an interface's name has 1 to 15 bytes")
    if not flags.cgroup_root.strip("/"):
        parser.error("argument --cgroup-root: must not be the root of all cgroups")
    return flags


def main() -> None:
    """Run until SIGTERM; exit status 1 with one line where it cannot start or go on."""
    flags = parse_flags(sys.argv[1:])
    from agents.containerd.server import ServeError, clean_up, prepare, serve  # noqa: PLC0415
    from kubraft.containerd_programs import MissingProgramsError  # noqa: PLC0415
    from kubraft.log import configure  # noqa: PLC0415

    configure(flags.log_level)
    try:
        if flags.remove:
            clean_up(flags)
            return
        prepared = prepare(flags)  # forks, so before there is an event loop
        import asyncio  # noqa: PLC0415

        asyncio.run(serve(flags, prepared))
    except (ServeError, MissingProgramsError) as error:
        print(f"agents.containerd: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
