"""`--rewrite` takes the answers of the real etcd into the scripts, for a review of the diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="regenerate scripts from real etcd")
