"""The `kubraft` command: objects over gRPC (get, apply) and the cluster itself (up, down).

This module imports nothing heavy: what a command needs is imported when it runs.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; exits the process."""
    from kubraft.cli.app import run  # noqa: PLC0415 - also keeps `import kubraft.cli` cheap

    run()
