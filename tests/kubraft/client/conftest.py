from collections.abc import AsyncIterator

import pytest

from kubraft.client.client import ApiClient
from tests.harness.wire import Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    server = Wire()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[ApiClient]:
    opened = ApiClient(wire.address, ca_file=None, connect_timeout_s=3)
    yield opened
    await opened.close()
