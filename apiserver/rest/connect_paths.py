"""Connect subresources in OpenAPI: what goes through is the other end's business. Pure.

Source: Kubernetes' own OpenAPI documents, connectGetNamespacedPodExec and its like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apiserver.connect.options import PROXY, options_kind
from apiserver.registry.resource import Resource

Json = dict[str, Any]

_ANY: Final = "*/*"
_STREAM: Final = ("get", "post")
_PROXIED: Final = ("get", "put", "post", "delete", "options", "head", "patch")
_FLAGS: Final = "stderr:boolean stdin:boolean stdout:boolean tty:boolean"
_PARAMETERS: Final = {
    "exec": f"command:string container:string {_FLAGS}",
    "attach": f"container:string {_FLAGS}",
    "portforward": "ports:integer",
    PROXY: "path:string",
}


def connect_items(place: str, row: Resource, subresource: str) -> Iterator[tuple[str, Json]]:
    """Paths and path items, in the form of v2; `place` is the path of one object."""
    path = f"{place}/{subresource}"
    methods = _PROXIED if subresource == PROXY else _STREAM
    yield path, _item(path, row, subresource, methods)
    if subresource == PROXY:
        yield f"{path}/{{path}}", _item(f"{path}/{{path}}", row, subresource, methods)


def _item(path: str, row: Resource, subresource: str, methods: tuple[str, ...]) -> Json:
    scope = "Namespaced" if row.namespaced else ""
    tail = "WithPath" if path.endswith("{path}") else ""
    named = f"{scope}{row.gvk.kind}{subresource.title()}{tail}"
    item: Json = {
        method: {
            "operationId": f"connect{method.title()}{named}",
            "consumes": [_ANY],
            "produces": [_ANY],
            "parameters": [],
            "responses": {
                "200": {"description": "OK", "schema": {"type": "string"}},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": "connect",
            "x-kubernetes-group-version-kind": options_kind(row.plural, subresource)._asdict(),
        }
        for method in methods
    }
    in_path = [name for name in ("namespace", "name", "path") if f"{{{name}}}" in path]
    item["parameters"] = [
        {"name": name, "in": "path", "required": True, "type": "string", "uniqueItems": True}
        for name in in_path
    ]
    asked = (each.split(":") for each in _PARAMETERS[subresource].split())
    item["parameters"] += [
        {"name": name, "in": "query", "type": type_, "uniqueItems": True}
        for name, type_ in asked
        if name not in in_path
    ]
    return item
