"""`python -m agents.node`: the node agent of one node."""

from __future__ import annotations

from agents.node.agent import add_flags, run_node
from kubraft.agent_main import agent_parser, duration_s, exit_agent, run_agent


def main() -> int:
    """Read the flags and run; the answer is the exit status."""
    parser = agent_parser("node", "Runs the Pods bound to one node, and reports on them.")
    add_flags(parser, duration_s)
    return run_agent("node", run_node, parser)


if __name__ == "__main__":
    exit_agent(main())
