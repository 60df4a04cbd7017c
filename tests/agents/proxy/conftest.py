"""One API server for all tests of the proxy; those that use it are of one xdist group."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.api import ApiUnderTest, running_api


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    # Addresses that anybody may listen on.
    network = "--service-cluster-ip-range=127.250.0.0/16"
    with running_api(tmp_path_factory.mktemp("proxy"), network) as api:
        yield api
