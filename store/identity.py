"""Ids of members and of the cluster, computed alike by everybody who knows the initial cluster.

Source: etcd, server/etcdserver/api/membership (computeMemberID, genID). The top bit of a member id
is left out, so that it is positive as a signed number too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

_MEMBER_ID_MASK = (1 << 63) - 1


def member_id(peer_urls: Sequence[str], token: str) -> int:
    """The id of the member that serves `peer_urls` in the cluster with this token."""
    return _first_64_bits("".join(sorted(peer_urls)).encode() + token.encode()) & _MEMBER_ID_MASK


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of the cluster that began with these members."""
    return _first_64_bits(b"".join(number.to_bytes(8, "big") for number in sorted(member_ids)))


def _first_64_bits(data: bytes) -> int:
    # An identifier, not a secret.
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")
