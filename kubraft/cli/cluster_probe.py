"""What the cluster's parts say of themselves, each through its own public protocol."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kubraft.api.conditions import is_true
from kubraft.api.errors import ApiError
from kubraft.api.gvk import NODE
from kubraft.cluster_config import ClusterConfig, MemberConfig
from kubraft.home import Home

if TYPE_CHECKING:
    import grpc.aio

PROBE_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member's own view, as etcd's Maintenance.Status gives it."""

    role: str  # leader, follower, candidate or learner
    term: int
    applied_index: int
    leader: int  # member id, 0 where it knows none


async def member_statuses(home: Home, cluster: ClusterConfig) -> dict[str, MemberStatus]:
    """Status of each member that answers within `PROBE_TIMEOUT_S`, by name."""
    found = await asyncio.gather(*(_member_status(home, member) for member in cluster.members))
    return {
        member.name: status
        for member, status in zip(cluster.members, found, strict=True)
        if status is not None
    }


async def hashes(home: Home, cluster: ClusterConfig) -> dict[str, tuple[int, int]]:
    """Hash and revision of what each member holds, by name, where it answers.

    All are of one revision, the lowest of those that answer: members that hold the same bytes
    give the same hash.
    """
    import grpc.aio  # noqa: PLC0415 - most of the command's start

    from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc  # noqa: PLC0415

    async def one(member: MemberConfig, revision: int) -> tuple[int, int] | None:
        target = member.client_url.removeprefix("https://")
        async with grpc.aio.secure_channel(target, _store_credentials(home)) as channel:
            stub = rpc_pb2_grpc.MaintenanceStub(channel)
            try:
                answer = await stub.HashKV(
                    rpc_pb2.HashKVRequest(revision=revision), timeout=PROBE_TIMEOUT_S
                )
            except grpc.aio.AioRpcError:
                return None
        return answer.hash, answer.header.revision

    first = await asyncio.gather(*(one(member, 0) for member in cluster.members))
    revision = min((found[1] for found in first if found), default=0)
    again = await asyncio.gather(*(one(member, revision) for member in cluster.members))
    return {
        member.name: (found[0], revision)
        for member, found in zip(cluster.members, again, strict=True)
        if found
    }


async def apiserver_is_serving(home: Home, cluster: ClusterConfig) -> bool:
    """Whether an API server answers its health check with SERVING."""
    import grpc.aio  # noqa: PLC0415 - most of the command's start
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    credentials = grpc.ssl_channel_credentials((home.pki / "ca.crt").read_bytes())
    async with grpc.aio.secure_channel(cluster.grpc, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(service=""), timeout=PROBE_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return False
    serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return serving


async def ready_nodes(home: Home, cluster: ClusterConfig) -> set[str]:
    """Names of the nodes that are Ready; empty where no API server answers."""
    from kubraft.client.client import ApiClient  # noqa: PLC0415 - most of the command's start

    client = ApiClient(
        cluster.grpc,
        ca_file=home.pki / "ca.crt",
        token=home.token_file.read_text().strip(),
        connect_timeout_s=PROBE_TIMEOUT_S,
        call_timeout_s=PROBE_TIMEOUT_S,
    )
    try:
        nodes = await client.list(NODE)
    except ApiError:
        return set()
    finally:
        await client.close()
    return {node["metadata"]["name"] for node in nodes.items if is_true(node, "Ready")}


async def _member_status(home: Home, member: MemberConfig) -> MemberStatus | None:
    import grpc.aio  # noqa: PLC0415 - most of the command's start

    from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc  # noqa: PLC0415

    target = member.client_url.removeprefix("https://")
    async with grpc.aio.secure_channel(target, _store_credentials(home)) as channel:
        stub = rpc_pb2_grpc.MaintenanceStub(channel)
        try:
            answer = await stub.Status(rpc_pb2.StatusRequest(), timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None
    if answer.isLearner:
        role = "learner"
    elif answer.leader == 0:
        role = "candidate"
    else:
        role = "leader" if answer.leader == answer.header.member_id else "follower"
    return MemberStatus(role, answer.raftTerm, answer.raftAppliedIndex, answer.leader)


def _store_credentials(home: Home) -> grpc.ChannelCredentials:
    import grpc  # noqa: PLC0415 - most of the command's start

    return grpc.ssl_channel_credentials(
        (home.pki / "ca.crt").read_bytes(),
        (home.pki / "store-client.key").read_bytes(),
        (home.pki / "store-client.crt").read_bytes(),
    )
