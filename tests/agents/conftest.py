"""The containerd that many tests use: starting one takes seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.runtime.containerd_process import ContainerdProcess, require_containerd


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers are made once for all workers of a run."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "images"


@pytest.fixture(scope="session")
def containerd(
    tmp_path_factory: pytest.TempPathFactory, image_cache: Path
) -> Iterator[ContainerdProcess]:
    """One for all tests of a worker; sandboxes are each test's own, and gone after it."""
    require_containerd()
    process = ContainerdProcess(tmp_path_factory.mktemp("containerd"), image_cache)
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.close()
