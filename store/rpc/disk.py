"""Work on the disk that a client asked for, and what it is told where the disk fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb
from grpc import StatusCode

from kubraft.log import get_logger
from store.rpc.errors import RefusedError

log = get_logger("store.rpc")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_work(what: str) -> Iterator[None]:
    """Around `what`, which leaves the state alone if it fails.

    Raises:
        RefusedError: the disk is full (RESOURCE_EXHAUSTED) or failed (INTERNAL).
    """
    try:
        yield
    except (OSError, lmdb.Error) as error:
        number = getattr(error, "errno", None)
        cause = os.strerror(number) if number else " ".join(str(error).split())
        log.warning("disk work failed", what=what, cause=cause)
        code = StatusCode.RESOURCE_EXHAUSTED if number in _FULL else StatusCode.INTERNAL
        raise RefusedError(code, f"etcdserver: {what} failed: {cause}") from error
