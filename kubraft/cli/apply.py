"""`kubraft apply` and `kubraft create`: makes what manifests describe exist.

Source: kubectl's words for what happened (created, configured, unchanged).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.cli.failure import CommandError, FailedError
from kubraft.cli.kind_table import qualified
from kubraft.cli.manifest import Manifest, read_manifests
from kubraft.cli.output import check_format, formatted
from kubraft.cli.session import Session
from kubraft.cli.three_way import LAST_APPLIED, apply_patch, last_applied_of, with_last_applied
from kubraft.client.client import Kind

# How often a change by somebody else in between is answered by looking again.
ATTEMPTS_MAX: Final = 5

_DOING = {"apply": "applying", "create": "creating"}

# Writes one object; says what was done, and how the object is now.
Write = Callable[[Kind, Object], Awaitable[tuple[str, Object]]]


async def apply(
    session: Session, files: Sequence[str], *, recursive: bool, output: str, dry_run: bool
) -> None:
    """Create what is not there, change what differs, leave the rest."""

    async def write(kind: Kind, manifest: Object) -> tuple[str, Object]:
        if not manifest["metadata"].get("name"):
            raise CommandError(
                "cannot use generate name with apply: "
                f"{kind.gvk.kind} {manifest['metadata']['generateName']}"
            )
        return await _apply_one(session, kind, manifest, dry_run=dry_run)

    await _write_all(
        session, files, "apply", write, recursive=recursive, output=output, dry_run=dry_run
    )


async def create(
    session: Session, files: Sequence[str], *, recursive: bool, output: str, dry_run: bool
) -> None:
    """Create what must not be there yet."""

    async def write(_kind: Kind, manifest: Object) -> tuple[str, Object]:
        return "created", await session.client.create(manifest, dry_run=dry_run)

    await _write_all(
        session, files, "create", write, recursive=recursive, output=output, dry_run=dry_run
    )


async def _write_all(
    session: Session,
    files: Sequence[str],
    verb: str,
    write: Write,
    *,
    recursive: bool,
    output: str,
    dry_run: bool,
) -> None:
    """Write every manifest and report each; one that fails does not stop the next."""
    check_format(output, ("json", "yaml", "name"))
    manifests = read_manifests(files, recursive=recursive)
    if not manifests:
        raise CommandError(f"no objects passed to {verb}")
    failed = False
    written: list[Object] = []
    for manifest in manifests:
        try:
            kind, obj = await _located(session, manifest)
            done, stored = await write(kind, obj)
        except (ApiError, CommandError) as error:
            failed = True
            session.terminal.err(_failure(error, manifest, verb))
            continue
        written.append(stored)
        if not output:
            suffix = " (server dry run)" if dry_run else ""
            name = stored["metadata"]["name"]
            session.terminal.out(f"{qualified(kind)}/{name} {done}{suffix}")
    if output and written:
        shown = formatted(output, written, as_list=len(manifests) > 1)
        session.terminal.out(shown)
    if failed:
        raise FailedError


def _failure(error: Exception, manifest: Manifest, verb: str) -> str:
    if isinstance(error, ApiError):
        return (
            f'Error from server ({error.reason}): error when {_DOING[verb]} "{manifest.source}": '
            f"{error.message}"
        )
    return f"error: {error}"


async def _located(session: Session, manifest: Manifest) -> tuple[Kind, Object]:
    """The manifest's kind, and the manifest with the namespace that it belongs to."""
    obj = manifest.object
    gvk, metadata = gvk_of(obj), obj["metadata"]
    kind = (await session.kinds()).find(gvk)
    if kind is None:
        raise CommandError(
            f'resource mapping not found for name: "{metadata.get("name", "")}" namespace: '
            f'"{metadata.get("namespace", "")}" from "{manifest.source}": no matches for kind '
            f'"{gvk.kind}" in version "{gvk.api_version}"'
        )
    if not kind.namespaced:
        return kind, obj
    own = metadata.get("namespace")
    if own and session.given_namespace and own != session.given_namespace:
        raise CommandError(
            f'the namespace from the provided object "{own}" does not match the namespace '
            f"\"{session.given_namespace}\". You must pass '--namespace={own}' to perform this "
            "operation."
        )
    return kind, {**obj, "metadata": {**metadata, "namespace": own or session.namespace}}


async def _apply_one(
    session: Session, kind: Kind, manifest: Object, *, dry_run: bool
) -> tuple[str, Object]:
    wanted = with_last_applied(manifest)
    metadata = wanted["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            live = await session.client.get(kind.gvk, name, namespace)
        except NotFoundError as error:
            if error.kind not in ("", kind.plural):
                raise
            try:
                return "created", await session.client.create(wanted, dry_run=dry_run)
            except AlreadyExistsError:
                continue
        last = last_applied_of(live)
        if last is None and attempt == 1:
            session.terminal.err(
                f"Warning: resource {kind.plural}/{name} is missing the {LAST_APPLIED} annotation "
                "which is required by apply. The missing annotation will be patched automatically."
            )
        patch = apply_patch(last, wanted, live)
        if not patch:
            return "unchanged", live
        version = live["metadata"]["resourceVersion"]
        try:
            # Lists in the patch were made from this version, so it must be this one still.
            stored = await session.client.patch(
                kind.gvk, name, patch, namespace, resource_version=version, dry_run=dry_run
            )
        except ConflictError:
            if attempt == ATTEMPTS_MAX:
                raise
            continue
        changed = dry_run or stored["metadata"]["resourceVersion"] != version
        return ("configured" if changed else "unchanged"), stored
    raise CommandError(f"{kind.plural}/{name} comes and goes too quickly to be applied")
