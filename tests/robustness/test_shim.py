"""The shim does to a process what it says: or the faults made of it would find nothing."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.robustness.shim import Shim, build

LMDB = """
import lmdb, sys
env = lmdb.open(sys.argv[1] + "/db", subdir=False, lock=False)
for number in range(50):
    with env.begin(write=True) as txn:
        txn.put(b"%d" % number, b"x" * 4000)
"""
SYNC = """
import os, sys, time
file = os.open(sys.argv[1] + "/file", os.O_CREAT | os.O_WRONLY)
os.write(file, b"x" * 100)
began = time.monotonic()
os.fdatasync(file)
print(time.monotonic() - began)
"""
CLOCK = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    library = build()
    if library is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "disk").mkdir()
    return Shim(library, tmp_path / "control", tmp_path / "disk")


def run(shim: Shim, program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        env=os.environ | shim.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("offset_s", [0, 3600, -86_400.5])
def test_the_wall_clock_jumps(shim: Shim, tmp_path: Path, offset_s: float) -> None:
    shim.set_wall_clock(offset_s)
    before = time.time()
    told = [float(word) for word in run(shim, CLOCK, tmp_path).stdout.split()]
    after = time.time()
    assert len(told) == 2
    for at in told:
        assert before <= at - offset_s <= after


def test_syncs_are_slow_and_fail_on_the_disk_only(shim: Shim, tmp_path: Path) -> None:
    shim.slow_syncs(0.5)
    assert float(run(shim, SYNC, tmp_path / "disk").stdout) >= 0.5
    shim.slow_syncs(0)
    shim.fail_syncs(errno.EIO)
    failed = run(shim, SYNC, tmp_path / "disk")
    assert os.strerror(errno.EIO) in failed.stderr
    assert shim.hits == 2
    assert run(shim, SYNC, tmp_path).returncode == 0


@pytest.mark.parametrize("program", [LMDB, SYNC.replace("100", "100_000")], ids=["lmdb", "write"])
def test_the_disk_is_full_after_what_fits(shim: Shim, tmp_path: Path, program: str) -> None:
    assert run(shim, program, tmp_path / "disk").returncode == 0
    shim.fill_disk(10_000)
    full = run(shim, program, tmp_path / "disk")
    assert shim.hits
    if program is LMDB:
        # LMDB calls a write that was cut short an input/output error.
        told = [os.strerror(number) for number in (errno.ENOSPC, errno.EIO)]
        assert any(reason in full.stderr for reason in told)
    shim.calm()
    assert run(shim, program, tmp_path / "disk").returncode == 0


def test_syncs_of_lmdb_fail_too(shim: Shim, tmp_path: Path) -> None:
    shim.fail_syncs(errno.EIO)
    assert os.strerror(errno.EIO) in run(shim, LMDB, tmp_path / "disk").stderr
