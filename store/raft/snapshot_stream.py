"""Snapshots on their way between members, on a connection of their own beside the Raft messages.

    sender:    head (codec's InstallSnapshot, size u64), then chunks of `CRC-32 u32 | data`
    receiver:  one frame, NUL once the file is complete, verified and durable, else the cause

TCP is the flow control: the receiver reads a chunk only when the one before is written.
"""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from pathlib import Path

from store.directory import sync_directory, write_all
from store.raft.codec import decode, encode
from store.raft.framing import FrameError, FrameReader, frame
from store.raft.messages import InstallSnapshot

CHUNK_BYTES = 256 << 10
# Longest silence of the other side; a receiver's last step is an fsync of the whole file.
_SILENCE_S_MAX = 20.0
_SIZE = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def file_name(index: int, term: int) -> str:
    """The name of a received snapshot."""
    return f"{index:016x}-{term:016x}.snap"


async def send_snapshot(
    head: InstallSnapshot, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Stream the file at `path` to a member that has shaken hands.

    Raises:
        OSError, TimeoutError: the connection or the file failed.
        FrameError: the receiver could not take it.
    """
    size = path.stat().st_size  # noqa: ASYNC240  # one call on a file just written
    writer.write(frame(_SIZE.pack(size) + encode(head)))
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            writer.write(frame(_CRC.pack(zlib.crc32(chunk)) + chunk))
            async with asyncio.timeout(_SILENCE_S_MAX):
                await writer.drain()
    payload = await _next(reader, FrameReader(CHUNK_BYTES), [])
    if payload != b"\0":
        raise FrameError(payload.decode(errors="replace"))


async def receive_snapshot(
    directory: Path,
    temporary: str,
    reader: asyncio.StreamReader,
) -> InstallSnapshot:
    """Take a snapshot into `directory`, under `file_name`, by way of the file `temporary`.

    The caller answers the sender once it knows of it.

    Raises:
        OSError, TimeoutError, FrameError, ValueError: it did not arrive; nothing is left of it.
    """
    frames, waiting = FrameReader(CHUNK_BYTES + 65_536), list[bytes]()
    opening = await _next(reader, frames, waiting)
    (size,) = _SIZE.unpack_from(opening.ljust(_SIZE.size))
    head = decode(opening[_SIZE.size :])
    if not isinstance(head, InstallSnapshot):
        raise FrameError("snapshot without its head")
    path = directory / temporary
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        received = 0
        while received < size:
            chunk = await _next(reader, frames, waiting)
            data = _checked(chunk, received)
            received += len(data)
            await asyncio.to_thread(write_all, file, data)
        await asyncio.to_thread(os.fsync, file)
        path.rename(directory / file_name(head.index, head.snapshot_term))
        await asyncio.to_thread(sync_directory, directory)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    return head


def _checked(chunk: bytes, offset: int) -> bytes:
    data = chunk[_CRC.size :]
    if len(chunk) <= _CRC.size or _CRC.unpack_from(chunk)[0] != zlib.crc32(data):
        raise FrameError(f"snapshot chunk at offset {offset} does not match its CRC")
    return data


async def _next(reader: asyncio.StreamReader, frames: FrameReader, waiting: list[bytes]) -> bytes:
    while not waiting:
        async with asyncio.timeout(_SILENCE_S_MAX):
            data = await reader.read(CHUNK_BYTES)
        if not data:
            raise ConnectionResetError("closed in the middle of a snapshot")
        waiting.extend(frames.feed(data))
    return waiting.pop(0)
