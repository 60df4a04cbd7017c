"""The runtime as an ordinary user: namespaces by way of a user namespace, and no privilege."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri, RuntimeProcess, until

NOBODY = 65534
# Reading files of others is only so that this interpreter may be started, wherever it is.
_CAPABILITIES = "-all,+dac_read_search"
PREFIX = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--{kind}={_CAPABILITIES}" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="only root may become another user; an ordinary user runs all other tests as one",
    ),
]


@pytest.fixture
async def node() -> AsyncIterator[tuple[RuntimeProcess, Cri]]:
    # Not below pytest's folder, which is root's alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in (folder / "root", folder / "logs/web/main", folder / "volume"):
            path.mkdir(parents=True)
        (folder / "volume/file").write_text("content")
        process = RuntimeProcess(folder, prefix=PREFIX)
        for path in (folder, *folder.rglob("*"), Path(process.endpoint[7:]).parent):
            os.chown(path, NOBODY, NOBODY)
        try:
            await process.start()
            client = Cri(process.endpoint, process.logs)
            yield process, client
            await client.channel.close(None)
        finally:
            process.close()


async def test_containers_run_as_that_user_with_volumes_and_without_privilege(
    node: tuple[RuntimeProcess, Cri],
) -> None:
    process, client = node
    status = await client.runtime.Status(cri.StatusRequest(verbose=True))
    if '"isolated": true' not in status.info["config"]:
        pytest.skip("ordinary users may not have namespaces here")
    volume = cri.Mount(host_path=str(process.root.parent / "volume"), container_path="/data/deep")
    command = (
        "id -u; cat /data/deep/file; echo; echo new > /data/deep/new; touch /usr/x 2>&1; "
        "grep CapEff /proc/self/status; sleep 1000"
    )
    await client.run(await client.sandbox(), "sh", "-c", command, mounts=[volume])
    await until(lambda: len(client.lines()) == 4)
    uid, content, refused, capabilities = client.lines()
    assert (uid, content) == (str(NOBODY), "content")
    assert "Read-only file system" in refused
    assert capabilities.split() == ["CapEff:", "0" * 16]
    assert (process.root.parent / "volume/new").read_text() == "new\n"
    process.kill()
    await until(lambda: not process.marked())


async def test_another_user_cannot_be_had(node: tuple[RuntimeProcess, Cri]) -> None:
    _, client = node
    security = cri.LinuxContainerSecurityContext(run_as_user=cri.Int64Value(value=1000))
    linux = cri.LinuxContainerConfig(security_context=security)
    container = await client.create(await client.sandbox(), "id", linux=linux)
    with pytest.raises(Exception, match="cannot run as user 1000.*the runtime is not root"):
        await client.start(container)
