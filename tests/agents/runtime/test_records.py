from __future__ import annotations

from pathlib import Path

import pytest

from agents.runtime.records import RecordFiles, Sandbox
from kubraft.pb.criv1 import api_pb2 as cri


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing, as a loss of power leaves it"),
        pytest.param(b"\xff\xff", id="no message"),
        pytest.param(cri.PodSandboxStatus(id="other").SerializeToString(), id="of another"),
    ],
)
def test_a_record_that_is_damaged_is_dropped(tmp_path: Path, content: bytes) -> None:
    files = RecordFiles(tmp_path)
    files.save_sandbox(Sandbox(cri.PodSandboxStatus(id="good")))
    (tmp_path / "sandboxes" / "bad.pb").write_bytes(content)
    sandboxes, containers = files.load(now_ns=1)
    assert ([sandbox.id for sandbox in sandboxes], containers) == (["good"], [])
    assert [path.name for path in (tmp_path / "sandboxes").iterdir()] == ["good.pb"]
