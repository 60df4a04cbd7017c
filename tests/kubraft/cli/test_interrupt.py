"""Ctrl-C: status 130, at once, and nothing on standard error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WAIT_S = 10.0


@pytest.mark.parametrize(
    ("prepare", "call"),
    [
        pytest.param(
            "",
            "from kubraft.cli.manifest import read_manifests; read_manifests(['-'])",
            id="while it waits for standard input",
        ),
        pytest.param(
            "import kubraft.cli.app as app, time; app.run = lambda: (print(), time.sleep(60))",
            "pass",
            id="outside of any command",
        ),
    ],
)
def test_ctrl_c_ends_at_once(prepare: str, call: str) -> None:
    program = f"""
import asyncio, sys
import kubraft.cli
{prepare or "import kubraft.cli.app as app"}
async def command():
    print(flush=True)
    {call}
if {not prepare}:
    app.run = lambda: asyncio.run(command())
kubraft.cli.main()
"""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdin
        process.stdout.readline()
        _wait_asleep(process.pid)
        os.kill(process.pid, signal.SIGINT)
        try:
            status = process.wait(WAIT_S)
        finally:
            process.kill()
        assert process.stderr.read() == b""
        assert status == 130


def _wait_asleep(pid: int) -> None:
    """Return once the process waits in the kernel, as on a read or a sleep."""
    deadline_s = time.monotonic() + WAIT_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    time.sleep(0.05)
