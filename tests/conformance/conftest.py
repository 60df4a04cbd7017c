"""The two servers that are compared; `--rewrite` takes the answers of etcd into the scripts."""

from collections.abc import Iterator

import pytest

from tests.conformance.pair import Pair


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="regenerate scripts from real etcd")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Started once; tests that use it are marked for one worker."""
    with Pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair
