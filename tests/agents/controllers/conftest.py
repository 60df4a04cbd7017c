"""The control plane that the end-to-end tests of the controllers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.agents.controllers.cluster import Cluster, cluster_of
from tests.agents.controllers.processes import ControlPlane, Manager, control_plane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as started:
        yield started


@pytest.fixture
def manager(plane: ControlPlane) -> Manager:
    """The manager that tests share: leading, alone, made anew where a test has ended it."""
    shared = plane.shared_manager
    plane.kill_managers(but=shared)
    if shared is None or not shared.is_running:
        shared = plane.shared_manager = plane.start_manager("manager")
    shared.resume()
    shared.wait_leading()
    return shared


@pytest.fixture
async def cluster(plane: ControlPlane, manager: Manager) -> AsyncIterator[Cluster]:
    async with cluster_of(plane) as made:
        yield made
