"""One cluster for all end-to-end tests of a worker; each test gets it with everything running.

Tests that use it carry `pytest.mark.xdist_group("cluster")`, so that one worker runs them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from kubraft.client.client import ApiClient
from tests.e2e.cluster import Cluster, Workload


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "home")
    cluster.kubraft("up")
    yield cluster
    cluster.end()


@pytest.fixture
def cluster(session_cluster: Cluster) -> Iterator[Cluster]:
    yield session_cluster
    session_cluster.ensure_up()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    client = cluster.client()
    yield client
    await client.close()


@pytest.fixture
async def workload(client: ApiClient, request: pytest.FixtureRequest) -> AsyncIterator[Workload]:
    """Not created yet; removed after the test."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:50].strip("-")
    workload = Workload(client, name)
    yield workload
    await workload.delete()
