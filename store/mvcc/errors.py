"""What a request to the state machine can be refused with.

Messages are etcd's, word for word, because clients match on them; the gRPC code that goes with
each class stands in `store.rpc.errors`. Source: etcd, api/v3rpc/rpctypes.
"""

from __future__ import annotations

from typing import ClassVar


class MvccError(Exception):
    """A refusal that every member computes alike; nothing was changed."""

    message: ClassVar[str] = "etcdserver: unknown error"

    def __init__(self) -> None:
        super().__init__(self.message)


class EmptyKeyError(MvccError):
    message = "etcdserver: key is not provided"


class KeyNotFoundError(MvccError):
    message = "etcdserver: key not found"


class ValueProvidedError(MvccError):
    message = "etcdserver: value is provided"


class LeaseProvidedError(MvccError):
    message = "etcdserver: lease is provided"


class TooManyOpsError(MvccError):
    message = "etcdserver: too many operations in txn request"


class DuplicateKeyError(MvccError):
    message = "etcdserver: duplicate key given in txn request"


class InvalidSortOptionError(MvccError):
    message = "etcdserver: invalid sort option"


class CompactedError(MvccError):
    message = "etcdserver: mvcc: required revision has been compacted"


class FutureRevisionError(MvccError):
    message = "etcdserver: mvcc: required revision is a future revision"


class NoSpaceError(MvccError):
    message = "etcdserver: mvcc: database space exceeded"


class CorruptError(MvccError):
    message = "etcdserver: corrupt cluster"


class LeaseNotFoundError(MvccError):
    message = "etcdserver: requested lease not found"


class LeaseExistsError(MvccError):
    message = "etcdserver: lease already exists"


class LeaseTtlTooLargeError(MvccError):
    message = "etcdserver: too large lease TTL"


class MalformedCommandError(MvccError):
    message = "etcdserver: malformed command"
