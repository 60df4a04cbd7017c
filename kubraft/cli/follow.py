"""`kubraft get -w`: what is there, then each change as it happens.

A watch that ends is taken up where it ended; where the history from there is gone, at what is
there now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from kubraft.api.errors import ExpiredError, ServiceUnavailableError
from kubraft.api.object import Object
from kubraft.cli.failure import CommandError
from kubraft.cli.get import Options, namespace_for, tables_of, view_of
from kubraft.cli.kind_table import Target
from kubraft.cli.output import formatted
from kubraft.cli.session import Session

RETRY_S = 1.0


async def follow(session: Session, targets: Sequence[Target], options: Options) -> None:
    """Show the target until the user has seen enough."""
    (target,) = targets
    if len(target.names) > 1:
        raise CommandError("you may only specify a single resource name with --watch")
    await Follower(session, target, options).run()


class Follower:
    """One target being watched."""

    def __init__(self, session: Session, target: Target, options: Options) -> None:
        self._session = session
        self._target = target
        self._options = options
        self._view = view_of(session, target, options, several=False)
        self._header = options.headers
        self._as_table = options.output in ("", "wide")
        self._namespace = namespace_for(session, target, options)
        self._version = ""  # of the last that was shown

    async def run(self) -> None:
        """Show what is there, then changes; never returns by itself."""
        await self._show_present()
        while True:
            try:
                await self._show_changes()
            except ExpiredError:
                await self._show_present()
            except ServiceUnavailableError:
                await asyncio.sleep(RETRY_S)  # another replica, or this one again, takes over

    async def _show_present(self) -> None:
        """Print the objects, as of the version to watch from."""
        if self._as_table:
            tables = await tables_of(self._session, self._target, self._options)
            for table in tables:
                self._show_table(table)
            self._version = tables[0]["metadata"].get("resourceVersion", "")
            return
        listed = await self._session.client.list(
            self._target.kind.gvk,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        for obj in listed.items:
            self._show_object(obj)
        self._version = listed.resource_version

    async def _show_changes(self) -> None:
        """Print changes until the server ends; what was shown is not shown again."""
        events = self._session.client.watch(
            self._target.kind.gvk,
            self._namespace,
            resource_version=self._version,
            as_table=self._as_table,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                self._version = event.resource_version or self._version
                if event.type == "BOOKMARK":
                    continue
                if self._as_table:
                    self._show_table(event.object)
                else:
                    self._show_object(event.object)

    def _show_table(self, table: Object) -> None:
        rows = table.get("rows") or ()
        if rows:
            for line in self._view.lines(table, header=self._header):
                self._session.terminal.out(line)
            self._header = False

    def _show_object(self, obj: Object) -> None:
        self._session.terminal.out(formatted(self._options.output, [obj], as_list=False))

    @property
    def _label_selector(self) -> str:
        return self._options.label_selector

    @property
    def _field_selector(self) -> str:
        if self._target.names:
            return f"metadata.name={self._target.names[0]}"
        return self._options.field_selector
