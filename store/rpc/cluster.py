"""The Cluster service: members listed, added, removed, moved and promoted.

A change is worked out from the configuration that is applied here and made only if that is still
the newest, so that each is checked against what it changes. Source: etcd v3 API, Cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import grpc

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)
from store.figures import FIGURES
from store.identity import member_id
from store.raft.engine import LearnerNotReadyError, StaleChangeError
from store.raft.membership import Members
from store.rpc import reconfiguration
from store.rpc.errors import TIMED_OUT, RefusedError
from store.rpc.reconfiguration import Health
from store.rpc.service import MemberServices, parse

# How long a change waits for others to be done, and for a leader to hand over.
_CHANGE_S_MAX = 5.0
_RETRY_S = 0.05


async def member_list(services: MemberServices, data: bytes) -> bytes:
    request = parse(MemberListRequest, data)
    if request.linearizable:
        await services.make_linearizable()
    services.callers.check_known()
    response = MemberListResponse(members=members(services))
    return services.header(services.store.revision) + response.SerializeToString()


async def member_add(services: MemberServices, data: bytes) -> bytes:
    request = parse(MemberAddRequest, data)
    urls = reconfiguration.checked_urls(request.peerURLs)
    # The time makes the id another one each time, for ids of removed members never come back.
    new_id = member_id(urls, f"{services.cluster_id:x} {time.time_ns()}")
    add = partial(reconfiguration.add, new_id=new_id, urls=urls, learner=request.isLearner)
    await _change(
        services,
        lambda now, health: add(now, health, learners_max=services.options.learners_max),
    )
    listed = members(services)
    added = next((member for member in listed if new_id == member.ID), None)
    response = MemberAddResponse(member=added, members=listed)
    return services.header(services.store.revision) + response.SerializeToString()


async def member_remove(services: MemberServices, data: bytes) -> bytes:
    gone = parse(MemberRemoveRequest, data).ID
    await _change(services, lambda now, health: reconfiguration.remove(now, health, gone))
    response = MemberRemoveResponse(members=members(services))
    return services.header(services.store.revision) + response.SerializeToString()


async def member_update(services: MemberServices, data: bytes) -> bytes:
    request = parse(MemberUpdateRequest, data)
    urls = request.peerURLs
    await _change(services, lambda now, _: reconfiguration.update(now, request.ID, urls))
    response = MemberUpdateResponse(members=members(services))
    return services.header(services.store.revision) + response.SerializeToString()


async def member_promote(services: MemberServices, data: bytes) -> bytes:
    learner = parse(MemberPromoteRequest, data).ID
    try:
        await _change(services, lambda now, health: reconfiguration.promote(now, health, learner))
    except RefusedError as error:
        FIGURES.failed_promotions[error.refusal.message] += 1
        raise
    FIGURES.promotions += 1
    response = MemberPromoteResponse(members=members(services))
    return services.header(services.store.revision) + response.SerializeToString()


def members(services: MemberServices) -> list[Member]:
    """Members by id; one that has never told its client URLs has none, as in etcd."""
    return [
        Member(
            ID=member.id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in services.members.values()
    ]


async def _change(services: MemberServices, decide: Callable[[Members, Health], Members]) -> None:
    """Make one change, after those that are under way.

    Raises:
        RefusedError: `decide` or the leader refuses it, or it does not get its turn.
        UserEmptyError, PermissionDeniedError: the caller is not root.
        EngineError: no quorum; it may yet be made.
    """
    services.callers.check_admin()
    try:
        async with asyncio.timeout(_CHANGE_S_MAX):
            while True:
                await services.make_linearizable()
                now = services.engine.members()
                after = decide(now, _health(services))
                if after == now:
                    return
                try:
                    await services.engine.change_members(now, after)
                except StaleChangeError:
                    await asyncio.sleep(_RETRY_S)
                else:
                    return
    except LearnerNotReadyError as error:
        raise RefusedError(*reconfiguration.LEARNER_NOT_READY) from error
    except TimeoutError as error:
        raise RefusedError(grpc.StatusCode.UNAVAILABLE, TIMED_OUT) from error


def _health(services: MemberServices) -> Health:
    status = services.engine.status()
    if not services.options.strict_reconfiguration:
        everyone = frozenset(map(int, status.voters))
        return Health(started=everyone, active=everyone)
    started = {member.id for member in services.members.values() if member.name}
    active = set(status.voters) - set(status.silent_peers)
    return Health(started=frozenset(started), active=frozenset(map(int, active)))
