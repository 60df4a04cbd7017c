"""Fixtures of the API server's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver.harness import Bench, make_test_pki, running_registry


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running_registry() as made:
        yield made


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_test_pki(tmp_path_factory.mktemp("tls") / "pki")
