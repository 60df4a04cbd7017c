"""One server for all tests of a module: each leaves it as it was, or it was not refused well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.apiserver.in_process import Served, serving


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path_factory.mktemp("served"), pki) as made:
        yield made
