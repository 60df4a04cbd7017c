"""What a URL and a method ask for. Pure.

Source: Kubernetes documentation, "API concepts", resource URIs; upstream's RequestInfo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from kubraft.api.errors import BadRequestError, MethodNotAllowedError

SEGMENT_CHARS_MAX = 253
SEGMENTS_MAX = 16
PARAMETERS_MAX = 100
QUERY_CHARS_MAX = 32 * 1024

Query = Mapping[str, Sequence[str]]

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
# Below a Namespace these are its own subresources, not resources inside of it.
_OF_NAMESPACES = ("status", "finalize")
_PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A request for a resource, or, where `resource` is empty, for a path that is none.

    The verb of OPTIONS, which only what is proxied knows, is "", as upstream.
    """

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    # What follows the subresource, of a proxied URL.
    rest: tuple[str, ...] = ()

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


def read_query(text: str) -> Query:
    """The parameters of a query.

    Raises:
        BadRequestError: there are too many, or they are too long.
    """
    if not text:
        return {}
    if len(text) > QUERY_CHARS_MAX:
        raise BadRequestError("the query is too long")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise BadRequestError("the query has too many parameters") from error


def parse(method: str, path: str, query: Query) -> RequestInfo:
    """Read a request's target.

    Raises:
        MethodNotAllowedError: a resource has no such verb.
        BadRequestError: a segment is one that no object can have.
    """
    parts = path.strip("/").split("/")
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return _of_path(method, path)
    if parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif len(parts) == 3:
        return _of_path(method, path)
    else:
        group, version, parts = parts[1], parts[2], parts[3:]
    watching = parts[0] == "watch" and len(parts) > 1
    if watching:
        parts = parts[1:]
    whole = parts
    namespace, parts = _within(parts)
    resource, name, subresource = (*parts[:3], "", "", "")[:3]
    proxied = subresource == _PROXY and not watching
    if len(parts) > SEGMENTS_MAX and not proxied:
        return _of_path(method, path)
    verb = _VERBS.get(method, "")
    if not verb and not (proxied and method == "OPTIONS"):
        raise MethodNotAllowedError(
            "the server does not allow this method on the requested resource"
        )
    theirs = len(parts[3:]) if proxied else 0  # what follows is the other end's
    for part in whole[: len(whole) - theirs]:
        _check_segment(part)
    if watching:
        verb = "watch"
    elif not name:
        verb = _of_many(verb, query)
    return RequestInfo(
        verb, path, group, version, namespace, resource, name, subresource, tuple(parts[3:])
    )


def is_set(query: Query, name: str) -> bool:
    """Whether a boolean parameter is true: present, and neither "0" nor "false"."""
    values = query.get(name) or ("0",)
    return values[0].lower() not in ("0", "false")


def _of_path(method: str, path: str) -> RequestInfo:
    return RequestInfo(method.lower() if method != "HEAD" else "get", path)


def _within(parts: list[str]) -> tuple[str, list[str]]:
    """The namespace, and what is left of a path behind it."""
    if parts[0] != "namespaces" or len(parts) < 3 or parts[2] in _OF_NAMESPACES:
        return "", parts
    return parts[1], parts[2:]


def _of_many(verb: str, query: Query) -> str:
    if verb == "get":
        return "watch" if is_set(query, "watch") else "list"
    return "deletecollection" if verb == "delete" else verb


def _check_segment(part: str) -> None:
    if (
        not part
        or part in (".", "..")
        or len(part) > SEGMENT_CHARS_MAX
        or "\0" in part
        or "%" in part
        or "\ufffd" in part
    ):
        raise BadRequestError(f"invalid path segment {part[:64]!r}")
