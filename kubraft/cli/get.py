"""`kubraft get`: objects as tables, JSON, YAML or names, once or as they change.

Source: kubectl's conventions (headers, prefixes, what is said where nothing is found).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.object import Object
from kubraft.cli.failure import CommandError, FailedError, failure_line
from kubraft.cli.kind_table import Target, parse_targets, qualified, qualified_plural
from kubraft.cli.output import check_format, formatted
from kubraft.cli.session import Session
from kubraft.cli.table_view import TableView


@dataclass(frozen=True, slots=True)
class Options:
    """What a `get` was asked for besides the objects themselves."""

    output: str = ""
    watch: bool = False
    all_namespaces: bool = False
    label_selector: str = ""
    field_selector: str = ""
    headers: bool = True
    show_labels: bool = False
    ignore_not_found: bool = False


async def get(session: Session, words: Sequence[str], options: Options) -> None:
    """Show what `words` name."""
    check_format(options.output)
    targets = parse_targets(await session.kinds(), words)
    _check(targets, options)
    if options.watch:
        from kubraft.cli.follow import follow  # noqa: PLC0415 - watching is the exception

        await follow(session, targets, options)
    elif options.output in ("", "wide"):
        await _show_tables(session, targets, options)
    else:
        await _show_objects(session, targets, options)


def _check(targets: Sequence[Target], options: Options) -> None:
    named = any(target.names for target in targets)
    if named and options.all_namespaces and any(t.kind.namespaced for t in targets):
        raise CommandError("a resource cannot be retrieved by name across all namespaces")
    if named and (options.label_selector or options.field_selector):
        raise CommandError("name cannot be provided when a selector is specified")
    if options.watch and len(targets) > 1:
        raise CommandError("you may only specify a single resource type with --watch")


def namespace_for(session: Session, target: Target, options: Options) -> str:
    """Where to look for the target; "" for all namespaces and for kinds that have none."""
    return "" if options.all_namespaces or not target.kind.namespaced else session.namespace


async def tables_of(session: Session, target: Target, options: Options) -> list[Object]:
    """The server's Tables of the target: one for a list, one for each name.

    Raises:
        NotFoundError: a name that is not there, after the others have been read.
    """
    namespace = namespace_for(session, target, options)
    if not target.names:
        table = await session.client.table(
            target.kind.gvk,
            namespace,
            label_selector=options.label_selector,
            field_selector=options.field_selector,
        )
        return [table]
    return await asyncio.gather(
        *(session.client.table(target.kind.gvk, namespace, name=n) for n in target.names)
    )


async def _show_tables(session: Session, targets: Sequence[Target], options: Options) -> None:
    shown = failed = False
    for target in targets:
        try:
            tables = await tables_of(session, target, options)
        except ApiError as error:
            session.terminal.err(failure_line(error))
            failed = True
            continue
        rows = [row for table in tables for row in table.get("rows") or ()]
        if rows:
            if shown:
                session.terminal.out()
            shown = True
            view = view_of(session, target, options, several=len(targets) > 1)
            for line in view.lines({**tables[0], "rows": rows}, header=options.headers):
                session.terminal.out(line)
        for name, table in zip(target.names, tables, strict=False):
            if not table.get("rows") and not options.ignore_not_found:
                session.terminal.err(failure_line(missing(target, name)))
                failed = True
    if failed:
        raise FailedError
    if not shown and not any(target.names for target in targets):
        session.terminal.err(nothing_found(session, targets, options))


def view_of(session: Session, target: Target, options: Options, *, several: bool) -> TableView:
    """How the target's table is laid out."""
    return TableView(
        session.terminal,
        wide=options.output == "wide",
        namespaces=options.all_namespaces and target.kind.namespaced,
        name_prefix=f"{qualified(target.kind)}/" if several else "",
        show_labels=options.show_labels,
    )


def missing(target: Target, name: str) -> NotFoundError:
    """What the server says of an object that it does not have."""
    plural = qualified_plural(target.kind)
    return NotFoundError(f'{plural} "{name}" not found', kind=target.kind.plural, name=name)


def nothing_found(session: Session, targets: Sequence[Target], options: Options) -> str:
    """What stands in place of an empty table."""
    if options.all_namespaces or not any(target.kind.namespaced for target in targets):
        return "No resources found"
    return f"No resources found in {session.namespace} namespace."


async def _show_objects(session: Session, targets: Sequence[Target], options: Options) -> None:
    objects: list[Object] = []
    failed = False
    for target in targets:
        for name in target.names or ("",):
            try:
                objects += await _objects_of(session, target, name, options)
            except NotFoundError as error:
                if options.ignore_not_found:
                    continue
                session.terminal.err(failure_line(error))
                failed = True
    single = sum(len(t.names) for t in targets) == 1 and all(t.names for t in targets)
    if objects or (not failed and not single and options.output != "name"):
        session.terminal.out(formatted(options.output, objects, as_list=not single))
    if failed:
        raise FailedError


async def _objects_of(
    session: Session, target: Target, name: str, options: Options
) -> list[Object]:
    """The object of that name, or, where it is empty, all that the selectors find."""
    namespace = namespace_for(session, target, options)
    if name:
        return [await session.client.get(target.kind.gvk, name, namespace)]
    found = await session.client.list(
        target.kind.gvk,
        namespace,
        label_selector=options.label_selector,
        field_selector=options.field_selector,
    )
    return found.items
