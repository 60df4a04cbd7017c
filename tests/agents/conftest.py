"""The containerd that many tests use: starting one takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.agents.runtime.containerd_process import ContainerdProcess, require_containerd


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerdProcess]:
    """One for all tests of a worker; sandboxes are each test's own, and gone after it."""
    require_containerd()
    process = ContainerdProcess(tmp_path_factory.mktemp("containerd"))
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.close()
