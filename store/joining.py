"""Which cluster a member is in, and under which id.

A member that has a write-ahead log knows, whatever the flags say of the initial cluster. One that
has none begins as they say; with `--initial-cluster-state existing` it asks the others, who must
have added it before.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

from kubraft.log import get_logger
from store.config import Joined, MemberConfig, check_bootstrap
from store.raft import joining
from store.raft.disk import DiskDirectory
from store.raft.framing import REMOVED
from store.raft.joining import Cluster
from store.raft.lone import make_lone
from store.raft.membership import present, urls_of, was_removed
from store.raft.wal import Identity, read_identity

log = get_logger("store.joining")

_TRIES = 20
_PAUSE_S = 0.25


class JoinError(Exception):
    """The member cannot join; one line that names the flag and the cause."""


async def join(config: MemberConfig, tls: ssl.SSLContext | None) -> MemberConfig:
    """`config` with what the cluster says of this member.

    Raises:
        JoinError: nobody answers, or the cluster does not know this member.
        FlagError: the flags do not name this member.
        OSError, WalError: the data directory cannot be read.
    """
    identity = _identity(config)
    if identity is None:
        check_bootstrap(config)
    elif config.force_new_cluster:
        return _lone(config, identity)
    own = set(config.advertise_peer_urls)
    others = [url for m in config.initial_cluster for url in m.peer_urls if url not in own]
    if not config.existing:
        if identity is None:
            await _check_first_start(config, others, tls)
            return config
        return replace(config, joined=_returning(identity, None))
    cluster = await joining.ask_any(others, tls)
    if identity is not None:
        return replace(config, joined=_returning(identity, cluster))
    for _ in range(_TRIES):
        if cluster is not None:
            member_id = _find(cluster, own)
            if member_id:
                return replace(
                    config,
                    joined=Joined(cluster.cluster_id, member_id, present(cluster.members)),
                )
        # The one that was asked may not have heard of this member yet.
        await asyncio.sleep(_PAUSE_S)
        cluster = await joining.ask_any(others, tls)
    if cluster is None:
        raise JoinError("--initial-cluster: no member of the existing cluster answers")
    raise JoinError(
        f"--initial-cluster-state existing: the cluster has no member at "
        f"{','.join(config.advertise_peer_urls)}; add it first (etcdctl member add)"
    )


def _lone(config: MemberConfig, identity: Identity) -> MemberConfig:
    directory = DiskDirectory(config.wal_dir)
    try:
        left = make_lone(directory, identity)
    finally:
        directory.close()
    log.warning("forced a new cluster", removed=",".join(f"{member:x}" for member in left))
    return replace(config, joined=_returning(identity, None))


async def _check_first_start(
    config: MemberConfig, others: list[str], tls: ssl.SSLContext | None
) -> None:
    """Refuse to begin anew as a member that has voted and acknowledged before.

    It has forgotten both with its disk, and could vote twice, or against what it acknowledged.

    Raises:
        JoinError: a peer knows this member.
    """
    cause = await joining.has_taken_part(
        others, tls, cluster_id=config.cluster_id, member_id=config.member_id
    )
    if cause == REMOVED:
        raise JoinError(REMOVED)
    if cause:
        raise JoinError(
            f"--initial-cluster-state new: member {config.member_id:x} {cause}, but "
            f"--data-dir {config.data_dir} is empty; remove it and add it again (etcdctl member "
            f"remove, member add), then start it with --initial-cluster-state existing"
        )


def _returning(identity: Identity, cluster: Cluster | None) -> Joined:
    places = {}
    if cluster is not None and cluster.cluster_id == identity.cluster_id:
        if was_removed(cluster.members, identity.member_id):
            raise JoinError(REMOVED)
        places = present(cluster.members)
    return Joined(identity.cluster_id, identity.member_id, places)


def _find(cluster: Cluster, own: set[str]) -> int:
    for member_id, place in present(cluster.members).items():
        if own == set(urls_of(place).split(",")):
            return member_id
    return 0


def _identity(config: MemberConfig) -> Identity | None:
    directory = DiskDirectory(config.wal_dir)
    try:
        return read_identity(directory)
    finally:
        directory.close()
