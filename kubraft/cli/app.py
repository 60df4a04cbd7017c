"""The command line as a whole: registers every command, imports none before it runs."""

from __future__ import annotations

import typer

from kubraft.cli.cluster_commands import register as register_cluster_commands
from kubraft.cli.object_commands import add_connection_options
from kubraft.cli.object_commands import register as register_object_commands

HELP = """Kubraft: a Kubernetes-compatible control plane on a Raft quorum that you can kill.

Commands on objects talk to the API server over gRPC, by default to the cluster in $KUBRAFT_HOME or
./.kubraft. Try: kubraft get nodes
"""


def make_app() -> typer.Typer:
    """The typer application with all commands."""
    app = typer.Typer(
        name="kubraft",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_connection_options(app)
    register_object_commands(app)
    register_cluster_commands(app)
    return app


def run() -> None:
    """Run the command that the process was started for."""
    make_app()(prog_name="kubraft")
