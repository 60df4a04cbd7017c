"""One server for all stories of a module: real flags, TLS, users, RBAC and admission."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.apiserver.admission import hooks_server
from tests.apiserver.conformance.cluster import Cluster, talking
from tests.apiserver.in_process import serving


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("conformance")
    async with (
        serving(folder, pki) as served,
        hooks_server.serving(pki) as hooks,
        talking(served, pki, hooks) as made,
    ):
        yield made
