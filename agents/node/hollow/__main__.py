"""`python -m agents.node.hollow`: many nodes without machines."""

from __future__ import annotations

from agents.node.hollow.process import add_flags, run_hollow
from kubraft.agent_main import agent_parser, duration_s, exit_agent, run_agent


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("hollow", "Keeps many Nodes whose Pods only seem to run.")
    add_flags(parser, duration_s)
    return run_agent("hollow", run_hollow, parser)


if __name__ == "__main__":
    exit_agent(main())
