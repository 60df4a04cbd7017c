"""What kubectl makes of the controllers' work: roll-outs, waits, drains, certificates."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from tests.agents.controllers.certificates.test_request import CLIENT, _request
from tests.agents.controllers.cluster import Cluster, cluster_of
from tests.agents.controllers.hollow_node import DONE
from tests.agents.controllers.processes import ControlPlane, Manager

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("controllers"),
    pytest.mark.timeout(180),
]

WORKLOAD = """\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main, image: "web:{tag}"}}]}}
"""


class Kubectl:
    """The real kubectl of one namespace of a control plane."""

    def __init__(self, plane: ControlPlane, cluster: Cluster, folder: Path) -> None:
        path = str(Path(sys.executable).parent)
        found = shutil.which("kubectl", path=path) or shutil.which("kubectl")
        assert found, "kubectl is not installed: `make tools` does that"
        files = plane.api.credentials("admin")
        self._words = [
            found,
            f"--server=https://127.0.0.1:{plane.api.rest_port}",
            f"--certificate-authority={files['ca_file']}",
            f"--client-certificate={files['cert_file']}",
            f"--client-key={files['key_file']}",
            f"--namespace={cluster.namespace}",
            f"--cache-dir={folder}",
        ]

    async def __call__(self, words: str, stdin: str = "") -> str:
        """What it wrote; fails where it did."""
        process = await asyncio.create_subprocess_exec(
            *self._words,
            *words.split(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        written, _ = await process.communicate(stdin.encode())
        assert process.returncode == 0, written.decode()
        return written.decode()


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_roll_outs(plane: ControlPlane, manager: Manager, kind: str, tmp_path: Path) -> None:
    async with cluster_of(plane) as cluster:
        kubectl = Kubectl(plane, cluster, tmp_path)
        await kubectl("apply -f -", WORKLOAD.format(kind=kind, tag=1))
        await kubectl(f"rollout status {kind} web --timeout=60s")
        await kubectl(f"set image {kind} web main=web:2")
        await kubectl(f"rollout status {kind} web --timeout=60s")
        assert cluster.images() == ["web:2"]
        history = await kubectl(f"rollout history {kind} web")
        assert history.split()[-4:] == ["1", "<none>", "2", "<none>"]
        assert "rolled back" in await kubectl(f"rollout undo {kind} web")
        await kubectl(f"rollout status {kind} web --timeout=60s")
        assert cluster.images() == ["web:1"]
        history = await kubectl(f"rollout history {kind} web")
        assert history.split()[-4:] == ["2", "<none>", "3", "<none>"]
        await kubectl(f"delete {kind} web")


async def test_drains_keep_to_budgets_and_jobs_are_waited_for(
    plane: ControlPlane, manager: Manager, tmp_path: Path
) -> None:
    async with cluster_of(plane, 2) as cluster:
        kubectl = Kubectl(plane, cluster, tmp_path)
        await cluster.deploy(replicas=2)
        await kubectl("rollout status deployment/web --timeout=60s")
        await kubectl("create pdb web --selector=app=web --max-unavailable=1")
        await kubectl("wait --for=jsonpath={.status.disruptionsAllowed}=1 pdb/web --timeout=60s")
        first = cluster.nodes.pop(0)  # nothing is bound there any longer
        await kubectl(f"drain {first} --ignore-daemonsets --timeout=60s")
        assert all(pod["spec"].get("nodeName") != first for pod in cluster.alive())
        assert f"{cluster.nodes[0]}" in await kubectl("get endpointslices,pods -o wide")
        await kubectl(f"create job once --image={DONE}")
        await kubectl("wait --for=condition=Complete job/once --timeout=60s")


async def test_an_approved_certificate_is_issued(
    plane: ControlPlane, manager: Manager, tmp_path: Path
) -> None:
    async with cluster_of(plane) as cluster:
        kubectl = Kubectl(plane, cluster, tmp_path)
        made = _request("kube-apiserver-client", "ann", CLIENT, group="dev")
        spec, name = made["spec"], f"ann-{cluster.namespace}"
        request = (
            f"{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: "
            f"{{name: {name}}}, spec: {{request: {spec['request']}, usages: {spec['usages']}, "
            f"signerName: {spec['signerName']}}}}}"
        )
        await kubectl("create -f -", request)
        await kubectl(f"certificate approve {name}")
        await kubectl(f"wait --for=jsonpath={{.status.certificate}} csr/{name} --timeout=60s")
        assert "Approved,Issued" in await kubectl(f"get csr {name}")
        await kubectl(f"delete csr {name}")
