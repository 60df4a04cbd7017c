"""The `kubraft` command: objects over gRPC (get, apply) and the cluster itself (up, down).

This module imports nothing heavy: what a command needs is imported when it runs.
"""

from __future__ import annotations

import sys

from kubraft.standard_output import end_with_reader

INTERRUPTED_STATUS = 130  # as shells report SIGINT


def main() -> None:
    """Run the command line; exits the process."""
    end_with_reader()
    try:
        from kubraft.cli.app import run  # noqa: PLC0415 - also keeps `import kubraft.cli` cheap

        run()
    except KeyboardInterrupt:  # while still importing
        sys.exit(INTERRUPTED_STATUS)
