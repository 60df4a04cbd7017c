from collections.abc import Iterator

import pytest

from tests.kubraft.cli.real_api import RealApi, real_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    with real_api(tmp_path_factory.mktemp("api")) as running:
        yield running
