"""How a front proxy says on whose behalf it asks. Pure.

Source: Kubernetes documentation, "Authenticating Proxy"; client-go, transport (escaping).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from apiserver.user import User

PREFIX: Final = "x-remote-"
# What stands in a header's name as it is; the percent sign does not. Source: RFC 9110, token.
_NAME_SIGNS: Final = "!#$&'*+^`|"
# As whom the aggregator itself asks. Source: kube-aggregator.
AGGREGATOR: Final = User("system:kube-aggregator", groups=("system:masters",))

# Of one connection, or said anew on the next one. Source: RFC 9110, section 7.6.1.
_HOP_BY_HOP: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_OURS: Final = frozenset(("authorization", "host", "expect", "x-forwarded-for"))

Headers = list[tuple[str, str]]


def identity(user: User) -> Headers:
    """The headers that name a user."""
    made = [("X-Remote-User", user.name)]
    if user.uid:
        made.append(("X-Remote-Uid", user.uid))
    made += [("X-Remote-Group", group) for group in user.groups]
    for key, values in user.extra.items():
        name = f"X-Remote-Extra-{quote(key, safe=_NAME_SIGNS)}"
        made += [(name, value) for value in values]
    return made


def forwarded(headers: Iterable[tuple[str, str]], user: User, peer: str) -> Headers:
    """The headers of a request as they go on: without credentials, and with the user.

    `peer` is the address that the request came from.
    """
    given = list(headers)
    dropped = _listed(given) | _OURS
    made = [
        (name, value)
        for name, value in given
        if name not in dropped and not name.startswith((PREFIX, "impersonate-", ":"))
    ]
    before = [value for name, value in given if name == "x-forwarded-for"]
    if chain := ", ".join([*before, *([peer] if peer else [])]):
        made.append(("X-Forwarded-For", chain))
    return made + identity(user)


def returned(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers of an answer as they go on."""
    given = [(name.lower(), value) for name, value in headers]
    dropped = _listed(given)
    return [(name, value) for name, value in given if name not in dropped and name != "date"]


def _listed(headers: Headers) -> frozenset[str]:
    """Hop-by-hop headers: the known ones, and those that Connection names."""
    named = [value for name, value in headers if name == "connection"]
    return _HOP_BY_HOP | {part.strip().lower() for text in named for part in text.split(",")}
