"""The commands that change objects: apply, create, delete, scale, rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from kubraft.cli.failure import CommandError
from kubraft.cli.object_commands import (
    AllNamespaces,
    DryRun,
    FieldSelector,
    Files,
    IgnoreNotFound,
    Output,
    Recursive,
    Selector,
    Timeout,
    Words,
    object_command,
)
from kubraft.cli.session import Session

ROLLOUT_HELP = "Follow, list and undo rollouts of Deployments."


def register(app: typer.Typer) -> None:
    """Add them to `app`."""
    object_command(app, "apply")(apply)
    object_command(app, "create")(create)
    object_command(app, "delete")(delete)
    object_command(app, "scale")(scale)
    rollout = typer.Typer(help=ROLLOUT_HELP, no_args_is_help=True)
    object_command(rollout, "status", None)(rollout_status)
    object_command(rollout, "history", None)(rollout_history)
    object_command(rollout, "undo", None)(rollout_undo)
    object_command(rollout, "restart", None)(rollout_restart)
    object_command(rollout, "pause", None)(rollout_pause)
    object_command(rollout, "resume", None)(rollout_resume)
    app.add_typer(rollout, name="rollout", rich_help_panel="Commands on objects")


def _is_dry_run(dry_run: str) -> bool:
    if dry_run not in ("none", "server"):
        raise CommandError(f'invalid dry-run value ({dry_run}). Must be "none" or "server".')
    return dry_run == "server"


async def apply(
    session: Session,
    *,
    filename: Files = None,
    recursive: Recursive = False,
    output: Output = "",
    dry_run: DryRun = "none",
) -> None:
    """Make what manifests say so: kubraft apply -f web.yaml; apply -R -f folder; apply -f -."""
    from kubraft.cli import apply as module  # noqa: PLC0415

    await module.apply(
        session, filename or (), recursive=recursive, output=output, dry_run=_is_dry_run(dry_run)
    )


async def create(
    session: Session,
    *,
    filename: Files = None,
    recursive: Recursive = False,
    output: Output = "",
    dry_run: DryRun = "none",
) -> None:
    """Create what manifests describe; what exists already is a failure."""
    from kubraft.cli import apply as module  # noqa: PLC0415

    await module.create(
        session, filename or (), recursive=recursive, output=output, dry_run=_is_dry_run(dry_run)
    )


async def delete(
    session: Session,
    *,
    words: Words = None,
    filename: Files = None,
    recursive: Recursive = False,
    selector: Selector = "",
    field_selector: FieldSelector = "",
    all_: Annotated[bool, typer.Option("--all", help="All of the kind in the namespace.")] = False,
    all_namespaces: AllNamespaces = False,
    grace_period: Annotated[
        int, typer.Option("--grace-period", help="Seconds to end in; -1: what the object says.")
    ] = -1,
    now: Annotated[bool, typer.Option("--now", help="The same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="At once: --grace-period=0.")] = False,
    cascade: Annotated[
        str, typer.Option("--cascade", help="What it owns: background, foreground or orphan.")
    ] = "background",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is gone.")] = True,
    timeout_: Timeout = "0",
    ignore_not_found: IgnoreNotFound = False,
    output: Annotated[str, typer.Option("--output", "-o", help="name: names only.")] = "",
    dry_run: DryRun = "none",
) -> None:
    """Delete objects: kubraft delete pod web-0; delete -f web.yaml; delete pods -l app=web."""
    from kubraft.api.duration import parse_duration  # noqa: PLC0415
    from kubraft.cli import delete as module  # noqa: PLC0415
    from kubraft.cli.output import check_format  # noqa: PLC0415

    check_format(output, ("name",))
    grace_period_s = None if grace_period < 0 else grace_period
    if now:
        grace_period_s = 1
    if force and grace_period_s is None:
        grace_period_s = 0
    options = module.Options(
        label_selector=selector,
        field_selector=field_selector,
        everything=all_,
        all_namespaces=all_namespaces,
        grace_period_s=grace_period_s,
        propagation=cascade,
        wait=wait,
        timeout_s=parse_duration(timeout_),
        ignore_not_found=ignore_not_found or bool(selector) or all_,
        output=output,
        dry_run=_is_dry_run(dry_run),
    )
    await module.delete(session, words or (), filename or (), recursive, options)


async def scale(
    session: Session,
    *,
    words: Words = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=0, help="How many there shall be.", show_default=False)
    ] = ...,  # type: ignore[assignment] # typer's way to say "required"
    current_replicas: Annotated[
        int, typer.Option("--current-replicas", help="Only if there are so many now.")
    ] = -1,
) -> None:
    """Set the number of replicas: kubraft scale deploy/web --replicas 5."""
    from kubraft.cli import scale as module  # noqa: PLC0415

    await module.scale(session, words or (), replicas=replicas, current_replicas=current_replicas)


async def rollout_status(
    session: Session,
    *,
    words: Words = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="To the end.")] = True,
    timeout_: Timeout = "0",
    revision: Annotated[int, typer.Option("--revision", help="Only of this revision.")] = 0,
) -> None:
    """Follow a rollout to its end: kubraft rollout status deploy/web."""
    from kubraft.api.duration import parse_duration  # noqa: PLC0415
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.status(
        session,
        words or (),
        watch=watch,
        timeout_s=parse_duration(timeout_),
        revision=revision,
    )


async def rollout_history(
    session: Session,
    *,
    words: Words = None,
    revision: Annotated[int, typer.Option("--revision", help="Show this one in full.")] = 0,
) -> None:
    """List the revisions of a Deployment."""
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.show_history(session, words or (), revision=revision)


async def rollout_undo(
    session: Session,
    *,
    words: Words = None,
    to_revision: Annotated[int, typer.Option("--to-revision", help="0: the one before.")] = 0,
    dry_run: DryRun = "none",
) -> None:
    """Go back to a revision before: kubraft rollout undo deploy/web."""
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.undo(session, words or (), to_revision=to_revision, dry_run=_is_dry_run(dry_run))


async def rollout_restart(session: Session, *, words: Words = None) -> None:
    """Replace all Pods of a Deployment, a few at a time."""
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.restart(session, words or ())


async def rollout_pause(session: Session, *, words: Words = None) -> None:
    """Let changes of a Deployment's template wait."""
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.pause(session, words or (), paused=True)


async def rollout_resume(session: Session, *, words: Words = None) -> None:
    """Go on with the changes that waited."""
    from kubraft.cli import rollout as module  # noqa: PLC0415

    await module.pause(session, words or (), paused=False)
