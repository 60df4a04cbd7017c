"""Every script gives the same answers from our member and from the real etcd."""

from pathlib import Path

import pytest

from tests.conformance.script import Script, run
from tests.e2e.store_cluster import StoreCluster

DATA = Path(__file__).parents[1] / "store" / "data"
SCRIPTS = sorted(DATA.glob("*.txt"))
# What etcd has changed since the release that tests can run: see `tests.conformance.newer`.
NEWER = sorted((DATA / "newer").glob("*.txt"))

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("etcd", [pytest.param(True, id="etcd"), pytest.param(False, id="kubraft")])
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SCRIPTS])
async def test_answers_are_those_of_the_script(
    path: Path, etcd: bool, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    script = Script.read(path)
    played = await play(script, tmp_path, etcd=etcd)
    if etcd and pytestconfig.getoption("--rewrite"):
        path.write_text(played.text())
        return
    assert played.text() == script.text()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NEWER])
async def test_answers_are_those_of_later_releases(path: Path, tmp_path: Path) -> None:
    script = Script.read(path)
    assert (await play(script, tmp_path, etcd=False)).text() == script.text()


async def play(script: Script, directory: Path, *, etcd: bool) -> Script:
    with StoreCluster(directory, members=1, tls=False, etcd=etcd) as cluster:
        cluster.start()
        cluster.wait_ready()
        async with cluster.aio_channel("store-0") as channel:
            return await run(script, channel)
