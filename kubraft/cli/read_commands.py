"""The commands that only look: get, describe, logs, events, api-resources."""

from __future__ import annotations

from typing import Annotated

import typer

from kubraft.cli.object_commands import (
    AllNamespaces,
    FieldSelector,
    IgnoreNotFound,
    NoHeaders,
    Output,
    Selector,
    Words,
    object_command,
)
from kubraft.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add them to `app`."""
    object_command(app, "get")(get)
    object_command(app, "describe")(describe)
    object_command(app, "logs")(logs)
    object_command(app, "events")(events)
    object_command(app, "api-resources")(api_resources)


async def get(
    session: Session,
    *,
    words: Words = None,
    output: Output = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with changes.")] = False,
    all_namespaces: AllNamespaces = False,
    selector: Selector = "",
    field_selector: FieldSelector = "",
    no_headers: NoHeaders = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Add the labels.")] = False,
    ignore_not_found: IgnoreNotFound = False,
) -> None:
    """Show objects: kubraft get pods; get deploy web -o yaml; get pods,svc -A; get pods -w."""
    from kubraft.cli import get as module  # noqa: PLC0415

    options = module.Options(
        output=output,
        watch=watch,
        all_namespaces=all_namespaces,
        label_selector=selector,
        field_selector=field_selector,
        headers=not no_headers,
        show_labels=show_labels,
        ignore_not_found=ignore_not_found,
    )
    await module.get(session, words or (), options)


async def describe(
    session: Session,
    *,
    words: Words = None,
    selector: Selector = "",
    all_namespaces: AllNamespaces = False,
    show_events: Annotated[
        bool, typer.Option("--show-events/--no-events", help="End with the object's Events.")
    ] = True,
) -> None:
    """Show all about objects, their Events last: kubraft describe pod web-0."""
    from kubraft.cli import describe as module  # noqa: PLC0415

    await module.describe(
        session,
        words or (),
        label_selector=selector,
        all_namespaces=all_namespaces,
        show_events=show_events,
    )


async def logs(
    session: Session,
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="POD|TYPE/NAME [CONTAINER]", show_default=False),
    ] = None,
    container: Annotated[str, typer.Option("--container", "-c", help="Of this container.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the run before this one.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", help="The last lines only; -1: all.")] = -1,
    since: Annotated[str, typer.Option("--since", help="Not older than: 5s, 2m, 3h.")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="With times.")] = False,
    selector: Selector = "",
    all_containers: Annotated[
        bool, typer.Option("--all-containers", help="Of all containers of the Pod.")
    ] = False,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="Begin each line with its Pod and container.")
    ] = False,
    limit_bytes: Annotated[int, typer.Option("--limit-bytes", help="At most so many.")] = 0,
    max_log_requests: Annotated[
        int, typer.Option("--max-log-requests", help="Follow at most so many containers.")
    ] = 5,
) -> None:
    """Show what a container wrote: kubraft logs web-0 -f; logs deploy/web --tail 20."""
    from kubraft.api.duration import parse_duration  # noqa: PLC0415
    from kubraft.cli import logs as module  # noqa: PLC0415

    options = module.Options(
        container=container,
        all_containers=all_containers,
        follow=follow,
        previous=previous,
        timestamps=timestamps,
        tail_lines=tail,
        since_s=max(1, round(parse_duration(since))) if since else 0,
        limit_bytes=limit_bytes,
        label_selector=selector,
        prefix=prefix,
        streams_max=max_log_requests,
    )
    await module.logs(session, words or (), options)


async def events(
    session: Session,
    *,
    about: Annotated[str, typer.Option("--for", help="About one object: pod/web-0.")] = "",
    all_namespaces: AllNamespaces = False,
    types: Annotated[str, typer.Option("--types", help="Normal, Warning, or both.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with new ones.")] = False,
) -> None:
    """List what happened, the newest last: kubraft events --for pod/web-0."""
    from kubraft.cli.event_list import show_events  # noqa: PLC0415

    await show_events(
        session,
        about=about,
        all_namespaces=all_namespaces,
        types=[type_ for type_ in types.split(",") if type_],
        watch=watch,
    )


async def api_resources(
    session: Session, *, output: Output = "", no_headers: NoHeaders = False
) -> None:
    """List the kinds that the server has."""
    from kubraft.cli import api_resources as module  # noqa: PLC0415

    await module.api_resources(session, output=output, headers=not no_headers)
