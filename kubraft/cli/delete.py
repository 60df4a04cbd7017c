"""`kubraft delete`: by name, by selector, or what manifests describe.

Source: kubectl's words and defaults (background propagation, waiting until objects are gone).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from kubraft.api.errors import ApiError, ExpiredError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object, key_of, uid_of
from kubraft.cli.failure import CommandError, FailedError, failure_line
from kubraft.cli.kind_table import Target, parse_targets, qualified
from kubraft.cli.manifest import read_manifests
from kubraft.cli.session import Session
from kubraft.client.client import Kind

WAIT_RETRY_S = 0.5

PROPAGATIONS = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


@dataclass(frozen=True, slots=True)
class Options:
    """How to delete, and what to do about it afterwards."""

    label_selector: str = ""
    field_selector: str = ""
    everything: bool = False
    all_namespaces: bool = False
    grace_period_s: int | None = None
    propagation: str = "background"
    wait: bool = True
    timeout_s: float = 0
    ignore_not_found: bool = False
    output: str = ""
    dry_run: bool = False


async def delete(
    session: Session, words: Sequence[str], files: Sequence[str], recursive: bool, options: Options  # noqa: FBT001 - the one caller names it
) -> None:  # fmt: skip
    """Delete what is named, say so for each, and wait until it is gone.

    Raises:
        FailedError: something could not be deleted; each failure has been reported.
    """
    if options.propagation not in PROPAGATIONS:
        raise CommandError(
            f'invalid cascade value ({options.propagation}). Must be "background", "foreground", '
            'or "orphan"'
        )
    if files:
        found = await _from_files(session, files, recursive=recursive)
    else:
        found = await _from_words(session, words, options)
    failed = False
    deleted: list[tuple[Kind, Object]] = []
    for kind, namespace, name in found:
        try:
            obj = await session.client.delete(
                kind.gvk,
                name,
                namespace,
                grace_period_s=options.grace_period_s,
                propagation=PROPAGATIONS[options.propagation],
                dry_run=options.dry_run,
            )
        except NotFoundError as error:
            if not options.ignore_not_found:
                session.terminal.err(failure_line(error))
                failed = True
            continue
        except ApiError as error:
            session.terminal.err(failure_line(error))
            failed = True
            continue
        deleted.append((kind, obj))
        session.terminal.out(_report(kind, namespace, name, options))
    if not found and not options.ignore_not_found:
        session.terminal.err("No resources found")
    if options.wait and not options.dry_run:
        await _wait_all(session, deleted, options.timeout_s)
    if failed:
        raise FailedError


def _report(kind: Kind, namespace: str, name: str, options: Options) -> str:
    if options.output == "name":
        return f"{qualified(kind)}/{name}"
    forced = " force" if options.grace_period_s == 0 else ""
    where = f" from {namespace} namespace" if namespace else ""
    tried = " (server dry run)" if options.dry_run else ""
    return f'{qualified(kind)} "{name}"{forced} deleted{where}{tried}'


async def _from_files(
    session: Session, files: Sequence[str], *, recursive: bool
) -> list[tuple[Kind, str, str]]:
    kinds = await session.kinds()
    found = []
    for manifest in read_manifests(files, recursive=recursive):
        gvk, metadata = gvk_of(manifest.object), manifest.object["metadata"]
        kind = kinds.find(gvk)
        if kind is None:
            raise CommandError(f'no matches for kind "{gvk.kind}" in version "{gvk.api_version}"')
        namespace = (metadata.get("namespace") or session.namespace) if kind.namespaced else ""
        found.append((kind, namespace, metadata.get("name", "")))
    return found


async def _from_words(
    session: Session, words: Sequence[str], options: Options
) -> list[tuple[Kind, str, str]]:
    targets = parse_targets(await session.kinds(), words, "delete")
    selected = bool(options.label_selector or options.field_selector or options.everything)
    found: list[tuple[Kind, str, str]] = []
    for target in targets:
        if target.names:
            if selected:
                raise CommandError("name cannot be provided when a selector is specified")
            namespace = session.namespace if target.kind.namespaced else ""
            found += [(target.kind, namespace, name) for name in target.names]
        elif selected:
            found += await _selected(session, target, options)
        else:
            raise CommandError(
                "resource(s) were provided, but no name was specified (use --all or a selector "
                "to delete several)"
            )
    return found


async def _selected(
    session: Session, target: Target, options: Options
) -> list[tuple[Kind, str, str]]:
    kind = target.kind
    namespace = session.namespace if kind.namespaced and not options.all_namespaces else ""
    listed = await session.client.list(
        kind.gvk,
        namespace,
        label_selector=options.label_selector,
        field_selector=options.field_selector,
    )
    return [(kind, *key_of(obj)) for obj in listed.items]


async def _wait_all(
    session: Session, deleted: Sequence[tuple[Kind, Object]], timeout_s: float
) -> None:
    try:
        async with asyncio.timeout(timeout_s or None):
            await asyncio.gather(*(_wait_gone(session, kind, obj) for kind, obj in deleted))
    except TimeoutError:
        names = ", ".join(f"{kind.plural}/{obj['metadata']['name']}" for kind, obj in deleted)
        raise CommandError(f"timed out waiting for the condition on {names}") from None


async def _wait_gone(session: Session, kind: Kind, obj: Object) -> None:
    """Return once the object is no more, or is another one of the same name."""
    key, uid = key_of(obj), uid_of(obj)
    while True:
        try:
            now = await session.client.get(kind.gvk, key.name, key.namespace)
            if uid_of(now) != uid:
                return
            await _wait_event(session, kind, now)
        except NotFoundError:
            return
        except (ExpiredError, ServiceUnavailableError):
            await asyncio.sleep(WAIT_RETRY_S)


async def _wait_event(session: Session, kind: Kind, obj: Object) -> None:
    """Return when `obj` has been deleted, or when it is time to look again."""
    key = key_of(obj)
    events = session.client.watch(
        kind.gvk,
        key.namespace,
        resource_version=obj["metadata"]["resourceVersion"],
        field_selector=f"metadata.name={key.name}",
    )
    async with contextlib.aclosing(events):
        async for event in events:
            if event.type == "DELETED":
                return
