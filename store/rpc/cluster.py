"""The Cluster service: the list of members. Source: etcd v3 API, Cluster."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import Member, MemberListRequest, MemberListResponse
from store.rpc.service import MemberServices, parse


async def member_list(services: MemberServices, data: bytes) -> bytes:
    request = parse(MemberListRequest, data)
    if request.linearizable:
        await services.make_linearizable()
    response = MemberListResponse(members=members(services))
    return services.header(services.store.revision) + response.SerializeToString()


def members(services: MemberServices) -> list[Member]:
    """Members by id; one that has never told its client URLs has none, as in etcd."""
    published = services.machine.members
    found: list[Member] = []
    for member_id, member in sorted(services.members.items()):
        told = published.get(member_id)
        found.append(
            Member(
                ID=member_id,
                name=told.name if told else "",
                peerURLs=member.peer_urls,
                clientURLs=told.clientURLs if told else (),
            )
        )
    return found
