"""`python -m agents.metrics`: the metrics server."""

from __future__ import annotations

from agents.metrics.server import add_flags, serve_metrics
from kubraft.agent_main import agent_parser, duration_s, exit_agent, run_agent


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("metrics", "Tells what nodes and Pods use.")
    add_flags(parser, duration_s)
    return run_agent("metrics-server", serve_metrics, parser)


if __name__ == "__main__":
    exit_agent(main())
