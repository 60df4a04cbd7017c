"""The commands on objects, as the command line declares them.

A command here is its arguments and help; what it does is in a module of its own, imported when it
runs. Every command also takes the options that say which server, and which namespace.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_type_hints

import typer

from kubraft.cli.completion import complete_words
from kubraft.cli.session import Session, run_session

_PANEL = "Commands on objects"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TYPE[/NAME] [NAME]...",
        help="What to work on: [b]pods[/], [b]deploy web[/], [b]pod/web-0[/], [b]pods,svc[/].",
        autocompletion=complete_words,
        show_default=False,
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--filename", "-f", help="A file, a folder, or - for standard input.", show_default=False
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-R", help="Look into folders below folders.")
]
Selector = Annotated[
    str, typer.Option("--selector", "-l", help="By labels: a=b,c!=d,e in (x,y),!f.")
]
FieldSelector = Annotated[
    str, typer.Option("--field-selector", help="By fields: status.phase=Running.")
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")]
Output = Annotated[
    str, typer.Option("--output", "-o", help="json, yaml, name or wide.", show_default=False)
]
NoHeaders = Annotated[bool, typer.Option("--no-headers", help="Leave out the header line.")]
DryRun = Annotated[
    str,
    typer.Option("--dry-run", help="none, or server: judge and answer, but change nothing."),
]
IgnoreNotFound = Annotated[
    bool, typer.Option("--ignore-not-found", help="What is not there is no failure.")
]
Timeout = Annotated[
    str, typer.Option("--timeout", help="Give up after this long: 90s, 5m; 0: never.")
]

_CONNECTION: dict[str, Any] = {
    "namespace": Annotated[
        str, typer.Option("--namespace", "-n", help="Where namespaced objects are.")
    ],
    "server": Annotated[
        str, typer.Option("--server", "-s", help="host:port of an API server's gRPC.")
    ],
    "token": Annotated[str, typer.Option("--token", help="Bearer token to show.")],
    "ca_file": Annotated[
        str, typer.Option("--ca-file", help="CA that the server must prove itself with.")
    ],
}

Command = Callable[..., Awaitable[None]]


def object_command(
    app: typer.Typer, name: str, panel: str | None = _PANEL
) -> Callable[[Command], Command]:
    """Register an async function of a Session; the connection options are added to its own."""

    def register_command(function: Command) -> Command:
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        parameters = [p.replace(annotation=hints[p.name]) for p in parameters]
        parameters += [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default="", annotation=annotation
            )
            for option, annotation in _CONNECTION.items()
        ]

        @functools.wraps(function)
        def run(ctx: typer.Context, **values: Any) -> None:
            given = ctx.find_root().params
            connection = {
                option: values.pop(option) or given.get(option) or "" for option in _CONNECTION
            }

            async def command(session: Session) -> None:
                await function(session, **values)

            run_session(command, **connection)

        context = inspect.Parameter(
            "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature([context, *keywords])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [context, *keywords]}
        del run.__wrapped__
        app.command(name, rich_help_panel=panel)(run)
        return function

    return register_command


def add_connection_options(app: typer.Typer) -> None:
    """Let the connection options stand before the command as well: kubraft -n shop get pods."""

    def root(**_given: str) -> None:
        """Keep what was given; commands look it up."""

    root.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default="", annotation=annotation
            )
            for option, annotation in _CONNECTION.items()
        ]
    )
    root.__annotations__ = dict(_CONNECTION)
    app.callback(help=app.info.help)(root)


def register(app: typer.Typer) -> None:
    """Add all commands on objects to `app`, in the order in which help shows them."""
    from kubraft.cli import change_commands, read_commands  # noqa: PLC0415 - they import this

    read_commands.register(app)
    change_commands.register(app)
