"""`get -w` over a server that goes away: it goes on where it was, and shows nothing twice."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from kubraft.api.errors import ServiceUnavailableError
from kubraft.api.gvk import GroupVersionKind
from kubraft.cli import follow as following
from kubraft.cli.follow import Follower
from kubraft.cli.get import Options
from kubraft.cli.kind_table import Target
from kubraft.cli.session import Session
from kubraft.cli.terminal import Terminal
from kubraft.client.answers import Kind, ObjectList, WatchEvent

SETTINGS = Kind(GroupVersionKind("", "v1", "ConfigMap"), "configmaps", "", (), (), True, (), ())


class CutClient:
    """Ends every watch after one event, as a server does that dies."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def list(self, *_: Any, **__: Any) -> ObjectList:
        return ObjectList([], "5")

    async def watch(self, *_: Any, resource_version: str, **__: Any) -> AsyncIterator[WatchEvent]:
        self.asked.append(resource_version)
        if len(self.asked) > 3:
            raise asyncio.CancelledError
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        yield WatchEvent("ADDED", obj, str(int(resource_version) + 1))
        raise ServiceUnavailableError("gone")


async def test_a_watch_that_broke_goes_on_after_the_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "RETRY_S", 0.001)
    client, out = CutClient(), io.StringIO()
    session = Session(cast("Any", client), Terminal(out, out, colour=False))
    with pytest.raises(asyncio.CancelledError):
        await Follower(session, Target(SETTINGS), Options(output="json")).run()
    assert client.asked == ["5", "6", "7", "8"]
    assert out.getvalue().count('"name": "a"') == 3
