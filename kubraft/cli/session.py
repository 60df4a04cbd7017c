"""One run of a command on objects: the client, the terminal, the kinds, the namespace."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kubraft.api.errors import ApiError
from kubraft.cli import INTERRUPTED_STATUS
from kubraft.cli.connection import Connection, not_answering, resolve
from kubraft.cli.failure import ClusterAbsentError, CommandError, FailedError, failure_line
from kubraft.cli.terminal import Terminal, process_terminal
from kubraft.home import Home

if TYPE_CHECKING:
    from kubraft.cli.kind_table import KindTable
    from kubraft.client.client import ApiClient

DEFAULT_NAMESPACE = "default"


class Session:
    """What a command works with; lives in one event loop."""

    def __init__(self, client: ApiClient, terminal: Terminal, namespace: str = "") -> None:
        self.client = client
        self.terminal = terminal
        self.given_namespace = namespace
        self._kinds: KindTable | None = None

    @property
    def namespace(self) -> str:
        """Where namespaced objects are looked for."""
        return self.given_namespace or DEFAULT_NAMESPACE

    async def kinds(self) -> KindTable:
        """The kinds of the server, asked once."""
        if self._kinds is None:
            from kubraft.cli.kind_table import KindTable  # noqa: PLC0415

            self._kinds = KindTable(await self.client.kinds())
        return self._kinds


def run_session(
    command: Callable[[Session], Awaitable[None]],
    *,
    namespace: str = "",
    server: str = "",
    token: str = "",
    ca_file: str = "",
) -> None:
    """Run `command` against the API server and exit the process where it fails."""
    terminal = process_terminal()
    home = Home.from_environment()
    try:
        connection = resolve(home, server=server, token=token, ca_file=ca_file)
        asyncio.run(_run(command, home, connection, terminal, namespace))
    except FailedError:
        sys.exit(1)
    except BrokenPipeError:
        # The reader has seen enough. Keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_STATUS)
    except (ApiError, CommandError, OSError, ValueError) as error:
        terminal.err(failure_line(error))
        sys.exit(1)


async def _run(
    command: Callable[[Session], Awaitable[None]],
    home: Home,
    connection: Connection,
    terminal: Terminal,
    namespace: str,
) -> None:
    # What gRPC's core has to say of a connection is in the error that we show.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from kubraft.client.client import ApiClient  # noqa: PLC0415 - gRPC is most of the start

    if not await _answers(connection.server):
        raise not_answering(home, connection)  # gRPC would try again for seconds first
    try:
        client = ApiClient(
            connection.server,
            ca_file=connection.ca_file,
            token=connection.token,
            field_manager="kubraft",
        )
    except OSError as error:
        raise ClusterAbsentError(f"cannot read {error.filename}: {error.strerror}") from error
    try:
        await command(Session(client, terminal, namespace))
    finally:
        await client.close()


async def _answers(server: str) -> bool:
    """Whether anybody listens at the address."""
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError, TimeoutError):
        return False
    writer.close()
    return True
