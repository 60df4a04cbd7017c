from __future__ import annotations

import asyncio
import sys

import pytest

from tests.e2e.cluster import ROOT, Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]


@pytest.mark.timeout(300)
async def test_all_that_the_demo_claims_holds(cluster: Cluster) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.demo",
        cwd=ROOT,
        env=cluster.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "claims held" in output.decode()
