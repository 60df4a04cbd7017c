"""`kubraft images`: what the nodes have, and archives for them to have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc

from kubraft.cli.progress import Progress
from kubraft.cluster_config import ClusterConfig, NodeConfig
from kubraft.containerd_programs import find_program
from kubraft.home import Home
from kubraft.node_runtime import NodeRuntime
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc
from kubraft.supervisor.daemon import DaemonError
from kubraft.supervisor.runtime_specs import runtime_endpoint

_IMPORT_TIMEOUT_S = 600.0
_LIST_TIMEOUT_S = 10.0
_NAMESPACE = "k8s.io"  # where containerd's CRI service has its images


def import_images(home: Home, archive: Path) -> None:
    """Give every node the images of an OCI or Docker archive.

    Raises:
        HomeError: there is no cluster.
        DaemonError: its runtime takes no archives, or refused this one.
        OSError: the archive cannot be read.
    """
    cluster = home.get_cluster()
    with archive.open("rb"):
        pass  # one that cannot be read is the user's mistake, and told as one
    if cluster.runtime is not NodeRuntime.CONTAINERD:
        raise DaemonError(
            "the process runtime has its built-in images only; `kubraft up --runtime containerd` "
            "starts a cluster that takes archives"
            if cluster.runtime is NodeRuntime.PROCESS
            else f"import it with the tools of the runtime at {cluster.runtime_endpoint}"
        )
    ctr = find_program("ctr")
    if ctr is None:
        raise DaemonError("ctr is not installed: apt-get install containerd")
    for node in cluster.nodes:
        names = _import(ctr, home, cluster, node, archive)
        for name in names:
            Progress().say(f"{node.name}: {name}")


def _import(
    ctr: str, home: Home, cluster: ClusterConfig, node: NodeConfig, archive: Path
) -> list[str]:
    before = _images(home, cluster, node)
    socket = runtime_endpoint(home, cluster, node).removeprefix("unix://")
    done = subprocess.run(
        [ctr, "--address", socket, "--namespace", _NAMESPACE, "images", "import", str(archive)],
        capture_output=True,
        text=True,
        timeout=_IMPORT_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        raise DaemonError(f"{node.name} does not take {archive}: {words[-1]}")
    told = [
        line.split()[1]
        for line in done.stdout.splitlines()
        if line.startswith("unpacking ") and len(line.split()) > 1
    ]
    return told or sorted(_images(home, cluster, node) - before)


def list_images(home: Home) -> list[tuple[str, str, str]]:
    """Node, name and size of every image that a node has.

    Raises:
        HomeError: there is no cluster.
        DaemonError: a node's runtime does not answer.
    """
    cluster = home.get_cluster()
    return [
        (node.name, name, f"{image.size / 1e6:.1f}MB")
        for node in cluster.nodes
        for image in sorted(_listed(home, cluster, node), key=lambda each: list(each.repo_tags))
        for name in image.repo_tags or image.repo_digests
    ]


def _images(home: Home, cluster: ClusterConfig, node: NodeConfig) -> set[str]:
    return {tag for image in _listed(home, cluster, node) for tag in image.repo_tags}


def _listed(home: Home, cluster: ClusterConfig, node: NodeConfig) -> list[cri.Image]:
    endpoint = runtime_endpoint(home, cluster, node)
    with grpc.insecure_channel(endpoint) as channel:
        stub = cri_grpc.ImageServiceStub(channel)
        try:
            answer = stub.ListImages(cri.ListImagesRequest(), timeout=_LIST_TIMEOUT_S)
        except grpc.RpcError as error:
            raise DaemonError(f"{node.runtime_name} does not answer: is the cluster up?") from error
        return list(answer.images)
