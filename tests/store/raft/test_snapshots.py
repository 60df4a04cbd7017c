from __future__ import annotations

import threading
from pathlib import Path

import pytest

from store.raft.link import Caller
from store.raft.snapshots import Snapshots
from tests.harness.ports import free_port
from tests.store.raft.cluster import eventually
from tests.store.raft.tally import Tally


def snapshots(path: Path, tally: Tally) -> Snapshots:
    return Snapshots(
        path / "snap",
        tally,
        Caller(7, 1, None),
        members_at=lambda _: {1: "http://a:1"},
        on_received=lambda *_: None,
    )


async def test_failed_stream_leaves_no_file_and_does_not_hold_the_log(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "state")
    tally.persist()
    sender = snapshots(tmp_path, tally)
    port = free_port()
    sender.stream(2, f"http://127.0.0.1:{port}", 1)
    await eventually(lambda: not sender.streaming)
    assert list((tmp_path / "snap").iterdir()) == []
    await sender.close()


async def test_stop_waits_for_a_snapshot_in_the_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally(tmp_path / "state")
    tally.persist()
    steps: list[str] = []

    def slow(path: Path) -> tuple[int, int]:
        steps.append("began")
        released.wait(5)
        steps.append("ended")
        return 1, 1

    released = threading.Event()
    monkeypatch.setattr(tally, "save_snapshot", slow)
    sender = snapshots(tmp_path, tally)
    sender.stream(2, "http://127.0.0.1:1", 1)
    await eventually(lambda: steps)
    threading.Timer(0.1, released.set).start()
    await sender.close()
    assert steps == ["began", "ended"]
