"""`kubraft rollout`: status, history, undo, restart, pause and resume of Deployments.

Source: kubectl's rollout commands (words, exit statuses).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kubraft.api.errors import ConflictError, ExpiredError, ServiceUnavailableError
from kubraft.api.gvk import DEPLOYMENT, REPLICA_SET
from kubraft.api.object import Object, annotations_of
from kubraft.api.patch import diff_merge_patch
from kubraft.api.time import format_time
from kubraft.cli.describe.page import Page
from kubraft.cli.describe.pod import describe_template
from kubraft.cli.failure import CommandError
from kubraft.cli.kind_table import parse_targets
from kubraft.cli.rollout_state import (
    CHANGE_CAUSE,
    RESTARTED_AT,
    RolloutError,
    history,
    progress,
    revision_of,
    template_of,
)
from kubraft.cli.session import Session
from kubraft.cli.table_view import aligned

RETRY_S = 0.5
_ATTEMPTS_MAX = 5


async def _deployment_names(session: Session, words: Sequence[str]) -> list[str]:
    """The Deployments that `words` name.

    Raises:
        CommandError: another kind, or no name.
    """
    targets = parse_targets(await session.kinds(), words)
    for target in targets:
        if target.kind.gvk != DEPLOYMENT:
            raise CommandError(f'no rollouts are supported on "{target.kind.plural}"')
    names = [name for target in targets for name in target.names]
    if not names:
        raise CommandError("required resource not specified: name a deployment")
    return names


async def status(
    session: Session, words: Sequence[str], *, watch: bool, timeout_s: float, revision: int
) -> None:
    """Say how the rollout goes until it is over.

    Raises:
        CommandError: it failed, or is not over in time.
    """
    try:
        async with asyncio.timeout(timeout_s or None):
            for name in await _deployment_names(session, words):
                await _follow_status(session, name, watch=watch, revision=revision)
    except TimeoutError:
        raise CommandError("timed out waiting for the condition") from None
    except RolloutError as error:
        raise CommandError(str(error)) from None


async def _follow_status(session: Session, name: str, *, watch: bool, revision: int) -> None:
    said = ""
    while True:
        try:
            deployment = await session.client.get(DEPLOYMENT, name, session.namespace)
            said, over = _say(session, deployment, said, revision)
            if over or not watch:
                return
            events = session.client.watch(
                DEPLOYMENT,
                session.namespace,
                resource_version=deployment["metadata"]["resourceVersion"],
                field_selector=f"metadata.name={name}",
            )
            async with contextlib.aclosing(events):
                async for event in events:
                    if event.type == "DELETED":
                        raise CommandError("object has been deleted")
                    if event.type == "BOOKMARK":
                        continue
                    said, over = _say(session, event.object, said, revision)
                    if over:
                        return
        except (ExpiredError, ServiceUnavailableError):
            await asyncio.sleep(RETRY_S)


def _say(session: Session, deployment: Object, said: str, revision: int) -> tuple[str, bool]:
    """Report progress where it is news; what was said, and whether it is over."""
    message, over = progress(deployment, revision)
    if message != said:
        session.terminal.out(message)
    return message, over


async def show_history(session: Session, words: Sequence[str], *, revision: int) -> None:
    """List the revisions, or show one of them in full."""
    for name in await _deployment_names(session, words):
        deployment, revisions = await _revisions(session, name)
        if revision:
            if revision not in revisions:
                raise CommandError("unable to find the specified revision")
            page = Page()
            describe_template(page, template_of(revisions[revision]))
            session.terminal.out(f"deployment.apps/{name} with revision #{revision}")
            session.terminal.out(page.text())
            continue
        rows = [["REVISION", "CHANGE-CAUSE"]]
        for number, replica_set in revisions.items():
            newest = number == revision_of(deployment)
            cause = annotations_of(deployment if newest else replica_set).get(CHANGE_CAUSE)
            rows.append([str(number), cause or "<none>"])
        session.terminal.out(f"deployment.apps/{name} ")
        for line in aligned(rows):
            session.terminal.out(line)


async def _revisions(session: Session, name: str) -> tuple[Object, dict[int, Object]]:
    deployment = await session.client.get(DEPLOYMENT, name, session.namespace)
    replica_sets = await session.client.list(REPLICA_SET, session.namespace)
    return deployment, history(deployment, replica_sets.items)


async def undo(session: Session, words: Sequence[str], *, to_revision: int, dry_run: bool) -> None:
    """Roll back to the revision before, or to `to_revision`.

    Raises:
        CommandError: there is no such revision, or the Deployment is paused.
    """
    for name in await _deployment_names(session, words):
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                done = await _undo(session, name, to_revision, dry_run=dry_run)
            except ConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
                continue
            session.terminal.out(f"deployment.apps/{name} {done}")
            break


async def _undo(session: Session, name: str, to_revision: int, *, dry_run: bool) -> str:
    deployment, revisions = await _revisions(session, name)
    if deployment["spec"].get("paused"):
        raise CommandError(
            f'you cannot rollback a paused deployment; resume it first with "kubraft rollout '
            f'resume deployment/{name}" and try again'
        )
    current = revision_of(deployment)
    wanted = to_revision or max((r for r in revisions if r != current), default=0)
    if wanted not in revisions:
        if to_revision:
            raise CommandError(f"unable to find specified revision {to_revision} in history")
        raise CommandError(f'no rollout history found for deployment "{name}"')
    template = template_of(revisions[wanted])
    patch = diff_merge_patch(deployment["spec"]["template"], template)
    if not patch:
        return f"skipped rollback (current template already matches revision {wanted})"
    changes: dict[str, Any] = {"spec": {"template": patch}}
    cause = annotations_of(revisions[wanted]).get(CHANGE_CAUSE)
    if cause != annotations_of(deployment).get(CHANGE_CAUSE):
        changes["metadata"] = {"annotations": {CHANGE_CAUSE: cause}}
    version = deployment["metadata"]["resourceVersion"]
    await session.client.patch(
        DEPLOYMENT, name, changes, session.namespace, resource_version=version, dry_run=dry_run
    )
    return "rolled back" + (" (server dry run)" if dry_run else "")


async def restart(session: Session, words: Sequence[str]) -> None:
    """Replace all Pods, by the Deployment's own strategy."""
    stamp = {RESTARTED_AT: format_time(datetime.now(UTC))}
    for name in await _deployment_names(session, words):
        patch = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        await session.client.patch(DEPLOYMENT, name, patch, session.namespace)
        session.terminal.out(f"deployment.apps/{name} restarted")


async def pause(session: Session, words: Sequence[str], *, paused: bool) -> None:
    """Stop reacting to changes of the template, or react again."""
    done = "paused" if paused else "resumed"
    for name in await _deployment_names(session, words):
        deployment = await session.client.get(DEPLOYMENT, name, session.namespace)
        if bool(deployment["spec"].get("paused")) == paused:
            already = "is already paused" if paused else "is not paused"
            raise CommandError(f'deployments.apps "{name}" {already}')
        patch = {"spec": {"paused": True if paused else None}}
        await session.client.patch(DEPLOYMENT, name, patch, session.namespace)
        session.terminal.out(f"deployment.apps/{name} {done}")
