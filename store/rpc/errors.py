"""One table from refusals to gRPC codes, and the words for a quorum that is lost.

Texts and codes are etcd's; where we know more than etcd says, it follows behind. Source: etcd,
api/v3rpc/rpctypes (error.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grpc import StatusCode

from store.mvcc import errors
from store.mvcc.auth import errors as auth_errors
from store.raft.engine import (
    EngineError,
    EngineStatus,
    NoLeaderError,
    ProposalDroppedError,
    UnknownOutcomeError,
)

NO_LEADER = "etcdserver: no leader"
TIMED_OUT = "etcdserver: request timed out"
NOT_FOR_LEARNERS = "etcdserver: rpc not supported for learner"
LEADER_CHANGED = "etcdserver: leader changed"
TRANSFER_TIMED_OUT = "etcdserver: request timed out, leader transfer took too long"
STOPPED = "etcdserver: server stopped"


class Refusal(NamedTuple):
    code: StatusCode
    message: str


class RefusedError(Exception):
    """A call ends with this status."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message)


TOO_LARGE = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
UNREADABLE = Refusal(StatusCode.INTERNAL, "grpc: error unmarshalling request")

_CODES: dict[type[errors.MvccError], StatusCode] = {
    errors.EmptyKeyError: StatusCode.INVALID_ARGUMENT,
    errors.KeyNotFoundError: StatusCode.INVALID_ARGUMENT,
    errors.ValueProvidedError: StatusCode.INVALID_ARGUMENT,
    errors.LeaseProvidedError: StatusCode.INVALID_ARGUMENT,
    errors.TooManyOpsError: StatusCode.INVALID_ARGUMENT,
    errors.DuplicateKeyError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidSortOptionError: StatusCode.INVALID_ARGUMENT,
    errors.CompactedError: StatusCode.OUT_OF_RANGE,
    errors.FutureRevisionError: StatusCode.OUT_OF_RANGE,
    errors.NoSpaceError: StatusCode.RESOURCE_EXHAUSTED,
    errors.CorruptError: StatusCode.DATA_LOSS,
    errors.LeaseNotFoundError: StatusCode.NOT_FOUND,
    errors.LeaseExistsError: StatusCode.FAILED_PRECONDITION,
    errors.LeaseTtlTooLargeError: StatusCode.OUT_OF_RANGE,
    auth_errors.RootUserNotExistError: StatusCode.FAILED_PRECONDITION,
    auth_errors.RootRoleNotExistError: StatusCode.FAILED_PRECONDITION,
    auth_errors.UserExistsError: StatusCode.FAILED_PRECONDITION,
    auth_errors.UserEmptyError: StatusCode.INVALID_ARGUMENT,
    auth_errors.UserNotFoundError: StatusCode.FAILED_PRECONDITION,
    auth_errors.RoleExistsError: StatusCode.FAILED_PRECONDITION,
    auth_errors.RoleNotFoundError: StatusCode.FAILED_PRECONDITION,
    auth_errors.RoleEmptyError: StatusCode.INVALID_ARGUMENT,
    auth_errors.AuthFailedError: StatusCode.INVALID_ARGUMENT,
    auth_errors.PermissionNotGivenError: StatusCode.INVALID_ARGUMENT,
    auth_errors.PermissionDeniedError: StatusCode.PERMISSION_DENIED,
    auth_errors.RoleNotGrantedError: StatusCode.FAILED_PRECONDITION,
    auth_errors.PermissionNotGrantedError: StatusCode.FAILED_PRECONDITION,
    auth_errors.AuthNotEnabledError: StatusCode.FAILED_PRECONDITION,
    auth_errors.InvalidAuthTokenError: StatusCode.UNAUTHENTICATED,
    auth_errors.InvalidAuthManagementError: StatusCode.INVALID_ARGUMENT,
    auth_errors.AuthOldRevisionError: StatusCode.INVALID_ARGUMENT,
}


def refusal_of_request(error: errors.MvccError) -> Refusal:
    return Refusal(_CODES.get(type(error), StatusCode.UNKNOWN), error.message)


def refusal_of_engine(
    error: EngineError, status: EngineStatus, names: Mapping[int, str]
) -> Refusal:
    """`names` are the members' names by id."""
    if isinstance(error, ProposalDroppedError):
        return Refusal(StatusCode.UNAVAILABLE, LEADER_CHANGED)
    missing: tuple[int, ...] = status.silent_peers
    if isinstance(error, NoLeaderError | UnknownOutcomeError) and error.missing:
        missing = error.missing
    lost = quorum_lost(missing, status, names)
    # UNAVAILABLE never promises that nothing happened, so a lost quorum may be called by its name.
    if isinstance(error, UnknownOutcomeError) and not lost:
        return Refusal(StatusCode.UNAVAILABLE, TIMED_OUT)
    return Refusal(StatusCode.UNAVAILABLE, NO_LEADER + lost)


def quorum_lost(missing: tuple[int, ...], status: EngineStatus, names: Mapping[int, str]) -> str:
    """What is missing for a quorum, as the tail of an error; empty if enough members are up."""
    total = len(status.voters)
    up = total - len(missing)
    if up > total // 2:
        return ""
    absent = ", ".join(sorted(names.get(member, f"{member:x}") for member in missing))
    return f": quorum lost, {up} of {total} members up, missing {absent}"
