"""The pause image: does nothing until it is told to stop."""

from __future__ import annotations

import signal


def main(_arguments: tuple[str, ...]) -> int:
    """Wait for SIGTERM or SIGINT, which come in blocked, then exit with 0."""
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0
