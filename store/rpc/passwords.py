"""Passwords as they are kept: scrypt with a salt, `scrypt$log2 N$salt$hash` in hexadecimal.

Slow on purpose: never on the event loop and never in the state machine. etcd uses bcrypt; what it
has hashed comes in with a snapshot of etcd's and is checked as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

_SALT_BYTES = 16
_BCRYPT = b"$2"
_BLOCK_SIZE = 8
_PARALLEL = 1
# etcd's --bcrypt-cost is the binary logarithm of the work; 10, its default, is N = 2**14 here.
_LOG2_N_ABOVE_COST = 4
COST_DEFAULT = 10
COST_MIN, COST_MAX = 4, 14


async def hash_password(password: str, *, cost: int) -> str:
    return await asyncio.to_thread(_hash, password, cost)


async def is_password(password: str, stored: bytes) -> bool:
    """Whether `password` is the one behind `stored`; an unreadable hash is nobody's."""
    return await asyncio.to_thread(_matches, password, stored)


def _hash(password: str, cost: int) -> str:
    salt = secrets.token_bytes(_SALT_BYTES)
    log2_n = cost + _LOG2_N_ABOVE_COST
    return f"scrypt${log2_n}${salt.hex()}${_derive(password, salt, log2_n).hex()}"


def _matches(password: str, stored: bytes) -> bool:
    if stored.startswith(_BCRYPT):
        return _matches_bcrypt(password, stored)
    try:
        _, log2_n, salt, digest = stored.decode().split("$")
        derived = _derive(password, bytes.fromhex(salt), int(log2_n))
        return hmac.compare_digest(derived, bytes.fromhex(digest))
    except ValueError:
        return False


def _matches_bcrypt(password: str, stored: bytes) -> bool:
    import bcrypt  # noqa: PLC0415  # only for users that were etcd's

    try:
        return bcrypt.checkpw(password.encode(), stored)
    except ValueError:
        return False


def _derive(password: str, salt: bytes, log2_n: int) -> bytes:
    n = 1 << log2_n
    memory_bytes_max = 2 * 128 * n * _BLOCK_SIZE
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=_BLOCK_SIZE, p=_PARALLEL, maxmem=memory_bytes_max
    )
