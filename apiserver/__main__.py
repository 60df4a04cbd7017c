"""`python -m apiserver`: one API server, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import sys
from collections.abc import Sequence

import uvloop

from apiserver.options import Options, parse
from kubraft.api.errors import ApiError
from kubraft.log import configure, get_logger

# Requests leave few cycles and hold many objects while they run: at the default of 700 a twelfth
# of the processor time went into looking at what is still in use.
_COLLECT_AFTER = (10_000, 20, 20)


async def _run(options: Options) -> None:
    # The imports behind this take most of the start; a wrong flag is told before.
    from apiserver.server import ApiServer  # noqa: PLC0415

    server = ApiServer(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    gc.collect()
    gc.freeze()  # what was imported and built lives as long as the process
    gc.set_threshold(*_COLLECT_AFTER)
    await server.run()


def _raise_descriptors() -> None:
    """Every connection takes one: use what the system allows, as programs in Go do."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: Sequence[str] | None = None) -> int:
    """The process; its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    configure(options.log_level)
    _raise_descriptors()
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
