"""Clients that others wrote, unchanged: each story against one server on a real etcd."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import KUBECONFIG
from tests.clients.control_plane import ROOT, ControlPlane, running_control_plane
from tests.clients.table import PAGE, ROWS, Row, page

STORY_S = 240


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("plane")) as made:
        yield made


@pytest.mark.e2e
@pytest.mark.timeout(300)  # a story on a machine that is busy with nine others
@pytest.mark.xdist_group("clients")
@pytest.mark.parametrize("row", [pytest.param(row, id=row.story) for row in ROWS])
def test_client_works(row: Row, plane: ControlPlane) -> None:
    story = Path(__file__).with_name(row.story)
    plugins = ("randomly", "xdist", "unraisableexception", "threadexception", "cacheprovider")
    words = ["-q", "-x", "-W", "default", *(f"-pno:{plugin}" for plugin in plugins)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words, str(story)],
        env={**os.environ, KUBECONFIG: str(plane.kubeconfig)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        written, _ = process.communicate(timeout=STORY_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # what a story leaves behind goes with it
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 0, written[-8000:]


def test_the_page_says_what_the_table_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "make it anew: python -m tests.clients.table"


def test_every_story_is_told() -> None:
    assert {row.story for row in ROWS} == {p.name for p in Path(__file__).parent.glob("*_story.py")}
