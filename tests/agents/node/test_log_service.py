"""Following a log through what happens to its file, its container and the runtime."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from agents.node import log_service
from agents.node.cri_client import RuntimeCallError
from agents.node.log_lines import LineWriter
from agents.node.log_rotation import LogRotation, rename_away
from agents.node.log_service import NodeAgentService
from agents.node.log_stream import stream_log
from agents.node.pod_view import POD_UID, PodView
from kubraft.api.time import SystemClock
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.v1 import objects_pb2 as pb
from tests.agents.node.pods import life, pod, view
from tests.agents.node.test_log_lines import write


def unavailable() -> RuntimeCallError:
    nothing = grpc.aio.Metadata()
    code = grpc.StatusCode.UNAVAILABLE
    error = grpc.aio.AioRpcError(code, nothing, nothing, "connection lost", "")
    return RuntimeCallError(error)


async def test_a_followed_log_ends_though_the_runtime_was_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_service, "_LOOK_S", 0.01)
    path = tmp_path / "0.log"
    write(path, "one")
    running = life("main", "running", log_path=str(path))
    looks = 0

    async def look(_uid: str) -> PodView:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise unavailable()
        return view(running if looks < 3 else life("main", "exit 255", log_path=str(path)))

    service = NodeAgentService(lambda _key: pod(), look, SystemClock(), tmp_path)
    request = pb.LogsRequest(pod="p", namespace="default", follow=True)
    found, found_life = await service._life(request)
    async with asyncio.timeout(10):
        chunks = [chunk async for chunk in service._stream(request, found, found_life)]
    assert chunks == [b"one\n"]


async def test_nothing_is_lost_when_the_log_is_rotated_just_before_the_end(tmp_path: Path) -> None:
    """Neither what came into the old file since it was last read, nor what is in the new one."""
    path = tmp_path / "0.log"
    write(path, "one")
    asked = 0

    def ended() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            write(path, "two")
            rename_away(path)
            write(path, "three")
        return asked >= 3

    chunks = stream_log(path, LineWriter(), follow=True, ended=ended)
    assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\nthree\n"


class _Runtime:
    """A runtime whose one container has just ended, so that it opens no new log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def containers(self) -> list[cri.Container]:
        return [cri.Container(state=cri.CONTAINER_RUNNING, labels={POD_UID: "u"})]

    async def view(self, _uid: str) -> PodView:
        return view(life("main", "running", log_path=str(self._path)))

    async def reopen_log(self, _id: str) -> None:
        raise unavailable()


async def test_a_log_that_is_not_opened_anew_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("x" * 100)
    rotation = LogRotation(_Runtime(path), SystemClock(), bytes_max=10)  # type: ignore[arg-type]
    with pytest.raises(RuntimeCallError):
        await rotation.rotate_all()
    assert path.read_text() == "x" * 100
