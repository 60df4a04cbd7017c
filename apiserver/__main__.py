"""`python -m apiserver`: one API server, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from apiserver.options import Options, parse
from kubraft.api.errors import ApiError
from kubraft.log import configure, get_logger


async def _run(options: Options) -> None:
    # The imports behind this take most of the start; a wrong flag is told before.
    from apiserver.server import ApiServer  # noqa: PLC0415

    server = ApiServer(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.run()


def main() -> int:
    """The process; its exit status."""
    options = parse(sys.argv[1:])
    configure(options.log_level)
    try:
        uvloop.run(_run(options))
    except ApiError as error:
        get_logger("apiserver").error("failed", error=error.message)
        return 1
    except (OSError, ValueError, RuntimeError) as error:
        get_logger("apiserver").error("failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
