from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.mvcc.machine_driver import MachineDriver


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[MachineDriver]:
    driver = MachineDriver(tmp_path / "state")
    yield driver
    driver.close()
