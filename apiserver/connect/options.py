"""What a connect request asks for, as admission sees it and as a node is asked. Pure.

Source: Kubernetes API reference, core/v1 PodExecOptions, PodAttachOptions, PodPortForwardOptions,
PodProxyOptions, ServiceProxyOptions, NodeProxyOptions; the kubelet's names of parameters.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from apiserver.rest.request_info import Query, RequestInfo, is_set
from kubraft.api.errors import BadRequestError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

PROXY: Final = "proxy"
STREAMS: Final = ("exec", "attach", "portforward")
SUBRESOURCES: Final = (*STREAMS, PROXY)
PORTS_MAX: Final = 64
_KINDS: Final = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}
_FLAGS: Final = ("stdin", "stdout", "stderr", "tty")
# The type of each field, and of what a list holds.
_TYPES: Final[dict[str, tuple[type, type]]] = {
    **dict.fromkeys(("kind", "apiVersion", "container", "path"), (str, str)),
    **dict.fromkeys(_FLAGS, (bool, bool)),
    "command": (list, str),
    "ports": (list, int),
}
_ASKED_AS: Final = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


def options_kind(plural: str, subresource: str) -> GroupVersionKind:
    """The kind of a connect request's options."""
    return GroupVersionKind("", "v1", _KINDS[plural, subresource])


def options_of(info: RequestInfo, asked: Query) -> Object:
    """The options of a request.

    Raises:
        BadRequestError: a port is none.
    """
    kind = options_kind(info.resource, info.subresource)
    made: dict[str, Any] = {"kind": kind.kind, "apiVersion": kind.api_version}
    if info.subresource == PROXY:
        if path := "/".join(info.rest):
            made["path"] = path
        return made
    if info.subresource == "portforward":
        if ports := [_port(text) for text in asked.get("ports", ())[:PORTS_MAX]]:
            made["ports"] = ports
        return made
    made |= {flag: True for flag in _FLAGS if is_set(asked, flag)}
    if container := "".join(asked.get("container", ())[:1]):
        made["container"] = container
    if info.subresource == "exec":
        made["command"] = list(asked.get("command", ()))
    return made


def is_options(kind: GroupVersionKind) -> bool:
    """Whether objects of a kind are options of connect requests: flat, and without metadata."""
    return kind.api_version == "v1" and kind.kind in _KINDS.values()


def read_options(obj: Object) -> Object:
    """Options that somebody else made: what is known of them.

    Raises:
        BadRequestError: a field has the wrong type.
    """
    made = {name: value for name, value in obj.items() if name in _TYPES}
    for name, value in made.items():
        kind, each = _TYPES[name]
        items = value if isinstance(value, list) else ()
        if type(value) is not kind or not all(type(item) is each for item in items):
            raise BadRequestError(f"{obj.get('kind', '')}: {name} has the wrong type")
    return made


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5:
        raise BadRequestError(f'strconv.ParseInt: parsing "{text[:64]}": invalid syntax')
    return int(text)


def node_query(options: Object) -> str:
    """The same, as a node's agent is asked."""
    if ports := options.get("ports"):
        return urlencode({"port": ",".join(map(str, ports))})
    found = [("command", each) for each in options.get("command") or ()]
    found += [(_ASKED_AS[flag], "1") for flag in _FLAGS if options.get(flag)]
    return urlencode(found)
