"""Where we follow etcd's releases 3.5.33 and 3.6.14, and not the 3.5.1 that tests compare with.

Each entry says what changed; docs/etcd-compatibility.md lists them, and a test holds the two
together. A difference between the two servers that no entry here explains fails the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.conformance.pair import Answers

# Asked without a good enough name while users count.
_REFUSED = (
    "error INVALID_ARGUMENT: etcdserver: user name is empty",
    "error PERMISSION_DENIED: etcdserver: permission denied",
    "error UNAUTHENTICATED: etcdserver: invalid auth token",
)
_GUARDED = frozenset(
    {
        "Compact",
        "LeaseGrant",
        "LeaseRevoke",
        "LeaseTimeToLive",
        "LeaseLeases",
        "MemberList",
        "Status",
        "Alarm",
    }
)


class Newer(NamedTuple):
    what: str
    explains: Callable[[str, Any, Answers], bool]


NEWER = (
    Newer(
        "compaction, leases, the member list, status and alarms ask who the caller is",
        lambda verb, _, answers: verb in _GUARDED and answers.ours in _REFUSED,
    ),
    Newer(
        "a token is not looked at while users do not count",
        lambda _, __, answers: answers.etcd == _REFUSED[2],
    ),
    Newer(
        "the role root is shown with the permission for everything",
        lambda verb, request, _: verb == "RoleGet" and request.role == "root",
    ),
    Newer(
        "a sort order or target that does not exist is refused",
        lambda verb, _, answers: "invalid sort option" in answers.ours,
    ),
    Newer(
        "a permission without a key, or for an empty range, is refused",
        lambda verb, _, answers: (
            verb == "RoleGrantPermission" and "invalid auth management" in answers.ours
        ),
    ),
)


# Seen in scripts of their own, tests/store/data/newer.
IN_SCRIPTS = (
    "a watch that is not permitted is refused under the id -1, and by its reason",
    "a watch from a key to the end needs the permission for all of it",
    "a watch from a negative revision is refused at once",
)


def is_newer(verb: str, request: Any, answers: Answers) -> bool:
    return any(newer.explains(verb, request, answers) for newer in NEWER)
