"""A command beside a container's program, with its streams at a client."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import Any, Final

from agents.runtime.launch import Launch
from agents.runtime.records import Container
from agents.runtime.spawner import Execution, SpawnError, new_pipe
from agents.runtime.streaming.command_streams import CommandStreams, Wanted
from agents.runtime.streaming.descriptors import InputWriter, OutputReader
from agents.runtime.streaming.inbox import Inbox
from kubraft.streaming.outcome import Outcome
from kubraft.streaming.terminal_size import SizeReader

# When a command has ended and something else of it holds its output open without a word.
_SILENCE_S: Final = 0.5


@dataclass(slots=True)
class _Ends:
    """This side's ends of a command's streams, and the three descriptors that it gets."""

    given: tuple[int, int, int]
    outputs: dict[str, OutputReader]
    stdin: InputWriter | None

    def close_given(self) -> None:
        for fd in set(self.given):
            os.close(fd)

    def close(self) -> None:
        for reader in self.outputs.values():
            reader.close()
        if self.stdin is not None:
            self.stdin.close()


async def run_command(
    container: Container, command: tuple[str, ...], wanted: Wanted, streams: CommandStreams
) -> Outcome:
    """Run `command` until it ends, or its client goes, which ends it.

    Returns:
        How it ended; a command that could not be started is a failure.
    """
    if container.process is None or container.launch is None:
        return _failed(f"container {container.id} is not running")
    launch = container.launch.beside(command, tty=wanted.tty)
    ends = _open_terminal(launch) if wanted.tty else _open_pipes(wanted)
    try:
        launch_fd = launch.to_memory_file()
        try:
            execution = container.process.execute((launch_fd, *ends.given))
        finally:
            os.close(launch_fd)
            ends.close_given()
        try:
            await execution.started
        except SpawnError as error:
            return _failed(str(error))
        code = await _attend(execution, ends, streams)
        return Outcome(code, command=command)
    finally:
        ends.close()


def _failed(cause: str) -> Outcome:
    text = f"error executing command in container: failed to exec in container: {cause}"
    return Outcome(failure=text)


async def _attend(execution: Execution, own: _Ends, streams: CommandStreams) -> int:
    """Carry the streams until the command has ended and its output is said."""
    feeding = [
        asyncio.create_task(feed(streams.inbox("stdin"), own.stdin)),
        asyncio.create_task(follow_size(streams.inbox("resize"), own.stdin)),
    ]
    saying = [
        asyncio.create_task(_say(kind, reader, execution, streams))
        for kind, reader in own.outputs.items()
    ]
    going = asyncio.create_task(streams.gone.wait())
    try:
        ends: set[asyncio.Future[Any]] = {execution.exited, going}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not execution.exited.done():  # nobody waits for it any more
            execution.kill()
        code = await execution.exited
        await asyncio.gather(*saying, return_exceptions=True)
    except asyncio.CancelledError:
        execution.kill()
        raise
    finally:
        tasks = [*feeding, *saying, going]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return code


async def _say(
    kind: str, reader: OutputReader, execution: Execution, streams: CommandStreams
) -> None:
    """Say what a command writes, to the end of it."""
    while True:
        reading = asyncio.ensure_future(reader.read())
        try:
            either: set[asyncio.Future[Any]] = {reading, execution.exited}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_SILENCE_S)
            if not reading.done() or not (data := reading.result()):
                return
        finally:
            reading.cancel()
        with contextlib.suppress(ConnectionError):  # read on: it must not wait for nobody
            await streams.send(kind, data)


async def feed(inbox: Inbox | None, writer: InputWriter | None) -> None:
    """Hand on what the client says to whoever reads it, to its end; then that end."""
    if inbox is None or writer is None:
        return
    try:
        while data := await inbox.read():
            await writer.write(data)
    except OSError:  # nobody reads it any more
        pass
    inbox.close()
    if not writer.is_terminal:
        writer.close()


async def follow_size(inbox: Inbox | None, writer: InputWriter | None) -> None:
    """Give the terminal the sizes that the client says."""
    if inbox is None:
        return
    sizes = SizeReader()
    while data := await inbox.read():
        for size in sizes.receive(data):
            if writer is not None and writer.is_terminal:
                with contextlib.suppress(OSError):
                    writer.resize(size)


def _open_terminal(launch: Launch) -> _Ends:
    controller, terminal = os.openpty()
    os.set_blocking(controller, False)
    if launch.uid is not None and os.geteuid() == 0:
        os.fchown(terminal, launch.uid, -1)
    # Two descriptions of one end: one task reads, another writes.
    writer = InputWriter(os.dup(controller), is_terminal=True)
    outputs = {"stdout": OutputReader(controller)}
    return _Ends((terminal, terminal, terminal), outputs, writer)


def _open_pipes(wanted: Wanted) -> _Ends:
    stdin: InputWriter | None = None
    if wanted.stdin:
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(in_write, False)
        stdin = InputWriter(in_write)
    else:
        in_read = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    outputs: dict[str, OutputReader] = {}
    writes = []
    for kind, is_wanted in (("stdout", wanted.stdout), ("stderr", wanted.stderr)):
        if is_wanted:
            read, write = new_pipe()
            outputs[kind] = OutputReader(read)
        else:
            write = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        writes.append(write)
    return _Ends((in_read, writes[0], writes[1]), outputs, stdin)
