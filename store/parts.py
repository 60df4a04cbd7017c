"""What a member is put together from, each part made of the configuration."""

from __future__ import annotations

import asyncio
import time

from store.auto_compaction import AutoCompactor
from store.config import MemberConfig
from store.flag_error import FlagError
from store.housekeeping import Housekeeping
from store.member_error import MemberError
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.raft.config import PeerTls, RaftConfig
from store.raft.engine import MemberID
from store.raft.member_engine import RaftEngine
from store.raft.membership import urls_of
from store.rpc.caller import Callers
from store.rpc.jwt_tokens import JwtTokens, open_tokens
from store.rpc.service import ClusterMember, MemberServices, ServiceOptions
from store.rpc.simple_tokens import SimpleTokens
from store.state_machine import StoreStateMachine


def raft_config(config: MemberConfig, tls: PeerTls | None) -> RaftConfig:
    """Raises MemberError: values that exclude each other."""
    peers = {member.id: ",".join(member.peer_urls) for member in config.initial_cluster}
    if config.joined is not None:
        peers = dict(config.joined.places)
    try:
        return RaftConfig(
            name=config.name,
            member_id=MemberID(config.member_id),
            cluster_id=config.cluster_id,
            peers={MemberID(member): urls_of(place) for member, place in peers.items()},
            joins=config.joined is not None,
            data_dir=config.data_dir,
            wal_dir=config.wal_dir,
            listen_urls=config.listen_peer_urls,
            tls=tls,
            heartbeat_ms=config.heartbeat_ms,
            election_ms=config.election_ms,
            compact_entries=config.snapshot_count,
            retained_entries=max(config.snapshot_count // 2, 1),
            proposal_bytes_max=config.request_bytes_max + 64 * 1024,
        )
    except ValueError as error:
        raise MemberError(str(error)) from error


def services(
    config: MemberConfig, engine: RaftEngine, machine: KvMachine, expiry: LeaseExpiry
) -> MemberServices:
    """Raises MemberError: the keys of the tokens cannot be used."""
    # Source: etcd, server/etcdserver: three halves of an election timeout, in whole seconds.
    lease_ttl_s_min = -(-3 * config.election_ms // 2000)
    return MemberServices(
        cluster_id=config.cluster_id,
        member_id=config.member_id,
        members={
            member.id: ClusterMember(member.id, member.name, member.peer_urls)
            for member in config.initial_cluster
        },
        engine=engine,
        machine=machine,
        expiry=expiry,
        options=ServiceOptions(
            request_bytes_max=config.request_bytes_max,
            txn_ops_max=config.txn_ops_max,
            quota_bytes=config.quota_bytes,
            lease_ttl_s_min=lease_ttl_s_min,
            learners_max=config.learners_max,
            strict_reconfiguration=config.strict_reconfiguration,
            watch_progress_interval_s=config.watch_progress_interval_s,
            password_cost=config.password_cost,
        ),
        callers=_callers(config, machine),
        announced=config.joined.places.get(config.member_id, "") if config.joined else "",
    )


def housekeeping(
    config: MemberConfig,
    engine: RaftEngine,
    machine: KvMachine,
    expiry: LeaseExpiry,
    state_machine: StoreStateMachine,
) -> Housekeeping:
    compactor = None
    if config.auto_compaction_retention > 0:
        compactor = AutoCompactor(config.auto_compaction_mode, config.auto_compaction_retention)
    return Housekeeping(
        engine=engine,
        machine=machine,
        expiry=expiry,
        state_machine=state_machine,
        flush_interval_s=config.flush_interval_s,
        election_s=config.election_ms / 1000,
        auto_compactor=compactor,
    )


def _callers(config: MemberConfig, machine: KvMachine) -> Callers:
    tokens: SimpleTokens | JwtTokens
    if config.tokens == "simple":
        now = asyncio.get_running_loop().time
        tokens = SimpleTokens(ttl_s=config.token_ttl_s, now=now)
        machine.auth_commands.tokens = tokens
    else:
        try:
            tokens = open_tokens(config.tokens.partition(",")[2], now=time.time)
        except FlagError as error:
            raise MemberError(str(error)) from error
    tls = config.client_tls
    return Callers(machine.auth, tokens, client_cert_auth=tls is not None and tls.client_cert_auth)
