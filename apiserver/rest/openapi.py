"""The OpenAPI documents of what is served: v3 by group and version, v2 as a whole.

Schemas and descriptions are those of the package that ships them; paths and options are made here,
as far as clients look at them: which paths there are, of which kind, and what a verb takes.

Source: Kubernetes documentation, "The Kubernetes API", OpenAPI; OpenAPI 3.0 and 2.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from apiserver.aggregation.aggregator import Described
from apiserver.aggregation.merging import merged
from apiserver.connect.options import SUBRESOURCES
from apiserver.registry.resource import Resource
from apiserver.rest.connect_paths import connect_items
from apiserver.rest.custom_schemas import definitions, for_v2
from apiserver.rest.discovery import Document, subresource_kind
from apiserver.rest.media import JSON, YAML
from apiserver.rest.objects import verbs_of
from apiserver.schema.definitions import Schema, definitions_file, reference, references
from kubraft.api.gvk import GroupVersionKind

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
_METHODS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch"}
_METHODS |= {"delete": "delete", "deletecollection": "delete"}
_ACTIONS = {"create": "post", "update": "put"}
_LISTED = (
    "allowWatchBookmarks:boolean continue:string fieldSelector:string labelSelector:string "
    "limit:integer resourceVersion:string resourceVersionMatch:string sendInitialEvents:boolean "
    "timeoutSeconds:integer watch:boolean"
)
_WRITTEN = "dryRun:string fieldManager:string fieldValidation:string"
_DELETED = "dryRun:string gracePeriodSeconds:integer orphanDependents:boolean "
_DELETED += "propagationPolicy:string"
_PARAMETERS = {
    "list": _LISTED,
    "create": _WRITTEN,
    "update": _WRITTEN,
    "patch": _WRITTEN + " force:boolean",
    "delete": _DELETED,
    "deletecollection": f"{_LISTED} {_DELETED}",
}

Json = dict[str, Any]


class OpenApi:
    """Makes the documents. Slow for an event loop: call it in a thread."""

    def __init__(
        self,
        served: Iterable[tuple[str, str, list[Resource]]],
        version: str,
        before: OpenApi | None = None,
    ) -> None:
        """`before` made the documents of what was served before: those that still hold are kept."""
        self._served = {_location(group, version): rows for group, version, rows in served}
        self._info = {"title": "Kubernetes", "version": version}
        self._before = before.made if before else {}
        self.made: dict[str, tuple[list[Resource], Document]] = {}
        self.built_in: Mapping[str, Schema] = before.built_in if before else _built_in_definitions()
        self._definitions = dict(self.built_in)
        self._custom: set[str] = set()
        for rows in self._served.values():
            for row in rows:
                if row.custom is not None:
                    added = definitions(row)
                    self._custom |= added.keys()
                    self._definitions |= added
        self._names = {
            GroupVersionKind(kind["group"], kind["version"], kind["kind"]): name
            for name, schema in self._definitions.items()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }

    def documents(self, remotes: Iterable[Described] = ()) -> dict[str, Document]:
        """By path: the index of v3, its documents, and v2; with those of other servers."""
        known = [(each.remote, each.description) for each in remotes if each.description]
        made = {
            f"/openapi/v3/{place}": self._v3_document(place, rows)
            for place, rows in self._served.items()
        }
        for remote, description in known:
            if description.openapi_v3:
                etag = f'"{description.openapi_v3_etag}"'
                made[f"/openapi/v3/{remote.place}"] = Document(description.openapi_v3, JSON, etag)
        index = {
            path.removeprefix("/openapi/v3/"): {
                "serverRelativeURL": f"{path}?hash={document.etag.strip(chr(34))}"
            }
            for path, document in made.items()
        }
        made["/openapi/v3"] = _document({"paths": index})
        whole = merged(self._v2(), (description.openapi_v2 for _, description in known))
        made["/openapi/v2"] = _document(whole)
        return made

    def _v3_document(self, place: str, rows: list[Resource]) -> Document:
        known = self._before.get(place)
        same = known is not None and known[0] == rows
        document = known[1] if known is not None and same else _document(self._v3(rows))
        self.made[place] = rows, document
        return document

    def _v3(self, rows: list[Resource]) -> Json:
        paths = _Paths(self._names, "#/components/schemas/")
        for row in rows:
            paths.add(row)
        schemas = self._closure(paths.used)
        return {
            "openapi": "3.0.0",
            "info": self._info,
            "paths": {path: _v3_path(item) for path, item in paths.found.items()},
            "components": {
                "schemas": {name: _v3_schema(name, self._definitions[name]) for name in schemas},
                "securitySchemes": {
                    "BearerToken": {
                        "type": "apiKey",
                        "description": "Bearer Token authentication",
                        "name": "authorization",
                        "in": "header",
                    }
                },
            },
        }

    def _v2(self) -> Json:
        paths = _Paths(self._names, "#/definitions/")
        for rows in self._served.values():
            for row in rows:
                paths.add(row)
        schemas = self._closure(paths.used)
        return {
            "swagger": "2.0",
            "info": self._info,
            "paths": paths.found,
            "definitions": {name: self._v2_definition(name) for name in schemas},
        }

    def _v2_definition(self, name: str) -> Json:
        schema = self._definitions[name]
        return _v2_schema(name, for_v2(schema) if name in self._custom else schema)

    def _closure(self, names: Iterable[str]) -> list[str]:
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += references(self._definitions[name])
        return sorted(found)


def _built_in_definitions() -> Mapping[str, Schema]:
    found: Mapping[str, Schema] = orjson.loads(definitions_file().read_bytes())["$defs"]
    return found


class _Paths:
    """Path items in the form of v2, which that of v3 is made from."""

    def __init__(self, names: Mapping[GroupVersionKind, str], prefix: str) -> None:
        self._names = names
        self._prefix = prefix
        self.found: dict[str, Json] = {}
        self.used: set[str] = {f"{_META}{name}" for name in ("Status", "DeleteOptions", "Patch")}

    def add(self, row: Resource) -> None:
        base = f"/{_location(row.gvk.group, row.gvk.version)}"
        inside = f"{base}/namespaces/{{namespace}}" if row.namespaced else base
        own, name = row.gvk, f"{inside}/{row.plural}/{{name}}"
        of_all = [v for v in ("list", "create", "deletecollection") if v in row.verbs]
        of_one = [v for v in ("get", "update", "patch", "delete") if v in row.verbs]
        self._item(f"{inside}/{row.plural}", row, own, of_all)
        if row.namespaced and "list" in row.verbs:
            self._item(f"{base}/{row.plural}", row, own, ["list"])
        self._item(name, row, own, of_one)
        for subresource in row.subresources:
            if subresource in SUBRESOURCES:
                self.found |= dict(connect_items(name, row, subresource))
                continue
            kind = subresource_kind(row, subresource)
            self._item(f"{name}/{subresource}", row, kind, verbs_of(subresource))

    def _item(self, path: str, row: Resource, kind: GroupVersionKind, verbs: Iterable[str]) -> None:
        item = {_METHODS[verb]: self._operation(path, row, kind, verb) for verb in verbs}
        if not item:
            return
        item["parameters"] = [  # type: ignore[assignment]
            {"name": name, "in": "path", "required": True, "type": "string", "uniqueItems": True}
            for name in ("namespace", "name")
            if f"{{{name}}}" in path
        ]
        self.found[path] = item

    def _operation(self, path: str, row: Resource, kind: GroupVersionKind, verb: str) -> Json:
        subresource = path.rpartition("}/")[2] if path.endswith(row.subresources) else ""
        answer = self._answer(row, kind, verb, subresource)
        parameters = [
            {"name": name, "in": "query", "type": type_, "uniqueItems": True}
            for name, _, type_ in (
                each.partition(":") for each in _PARAMETERS.get(verb, "pretty:string").split()
            )
        ]
        body = {"create": kind, "update": kind}.get(verb)
        schema = self._schema(body) if body else {}
        if verb in ("delete", "deletecollection"):
            schema = self._ref(f"{_META}DeleteOptions")
        elif verb == "patch":
            schema = self._ref(f"{_META}Patch")
        if schema:
            required = verb not in ("delete", "deletecollection")
            parameters.append({"name": "body", "in": "body", "schema": schema} | (
                {"required": True} if required else {}
            ))  # fmt: skip
        patches = [f"application/{name}" for name in _PATCHES]
        if row.custom is not None:
            patches.remove("application/strategic-merge-patch+json")
        action = "deletecollection" if verb == "deletecollection" else _ACTIONS.get(verb, verb)
        return {
            "operationId": _operation_id(path, row, kind, verb),
            "consumes": patches if verb == "patch" else [JSON, YAML],
            "produces": ["text/plain"] if subresource == "log" else [JSON, YAML],
            "parameters": parameters,
            "responses": {
                "201" if verb == "create" else "200": {
                    "description": "Created" if verb == "create" else "OK",
                    "schema": answer,
                },
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind._asdict(),
        }

    def _answer(self, row: Resource, kind: GroupVersionKind, verb: str, subresource: str) -> Json:
        if subresource == "log":
            return {"type": "string"}
        if verb == "list":
            return self._schema(kind._replace(kind=row.list_kind))
        if verb in ("delete", "deletecollection"):
            return self._ref(f"{_META}Status")
        return self._schema(kind)

    def _schema(self, kind: GroupVersionKind) -> Json:
        return self._ref(self._names[kind])

    def _ref(self, name: str) -> Json:
        self.used.add(name)
        return {"$ref": self._prefix + name}


def _location(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _operation_id(path: str, row: Resource, kind: GroupVersionKind, verb: str) -> str:
    words = [part for part in path.strip("/").split("/") if "{" not in part]
    tail = "".join(word.title().replace(".", "").replace("-", "") for word in words[1:])
    scope = "Namespaced" if "{namespace}" in path else ""
    return f"{verb}{scope}{tail}{row.gvk.kind if kind == row.gvk else kind.kind}"


def _v3_path(item: Json) -> Json:
    made: Json = {"parameters": [_v3_parameter(each) for each in item["parameters"]]}
    for method, operation in item.items():
        if method == "parameters":
            continue
        new = {k: v for k, v in operation.items() if k not in ("consumes", "produces")}
        new["parameters"] = [
            _v3_parameter(each) for each in operation["parameters"] if each["in"] != "body"
        ]
        for each in operation["parameters"]:
            if each["in"] == "body":
                schema = {"schema": each["schema"]}
                new["requestBody"] = {"content": _same(operation["consumes"], schema)}
                if each.get("required"):
                    new["requestBody"]["required"] = True
        new["responses"] = {
            code: {
                "description": answer["description"],
                **(
                    {"content": _same(operation["produces"], {"schema": answer["schema"]})}
                    if "schema" in answer
                    else {}
                ),
            }
            for code, answer in operation["responses"].items()
        }
        made[method] = new
    return made


def _same(keys: Iterable[str], value: Json) -> Json:
    return {key: value for key in keys}  # noqa: C420 - nobody changes them


def _v3_parameter(parameter: Json) -> Json:
    schema = {"type": parameter["type"], "uniqueItems": True}
    kept = {k: v for k, v in parameter.items() if k not in ("type", "uniqueItems")}
    return {**kept, "schema": schema}


def _v3_schema(name: str, schema: Schema) -> Json:
    if name == _INT_OR_STRING:
        return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if name == _QUANTITY:
        return {
            "description": schema.get("description", ""),
            "oneOf": [{"type": "string"}, {"type": "number"}],
        }
    return _converted(schema, "#/components/schemas/", wrap=True)


def _v2_schema(name: str, schema: Schema) -> Json:
    if name == _INT_OR_STRING:
        return {"format": "int-or-string", "type": "string"}
    if name == _QUANTITY:
        return {"description": schema.get("description", ""), "type": "string"}
    return _converted(schema, "#/definitions/", wrap=False)


def _converted(schema: Schema, prefix: str, *, wrap: bool) -> Json:
    """A schema with references below `prefix`; `wrap` those that something stands beside."""
    made: Json = {}
    for key, value in schema.items():
        if key == "$ref":
            continue
        if key == "properties":
            made[key] = {
                name: _property(name, each, prefix, wrap=wrap) for name, each in value.items()
            }
        elif key == "type" and isinstance(value, list):
            made[key] = next(each for each in value if each != "null")
        elif isinstance(value, dict):
            made[key] = _converted(value, prefix, wrap=wrap)
        elif isinstance(value, list):
            made[key] = [
                _converted(each, prefix, wrap=wrap) if isinstance(each, dict) else each
                for each in value
            ]
        else:
            made[key] = value
    if (name := reference(schema)) is not None:
        ref = {"$ref": prefix + name}
        if not (wrap and made):
            return {**made, **ref}
        made = {**made, "allOf": [ref]}
    return made


def _property(name: str, schema: Schema, prefix: str, *, wrap: bool) -> Json:
    made = _converted(schema, prefix, wrap=wrap)
    if name in ("apiVersion", "kind"):
        made.pop("enum", None)  # says which kind it is in; upstream's has none
    return made


def _document(content: Json) -> Document:
    raw = orjson.dumps(content)
    return Document(raw, JSON, f'"{hashlib.sha512(raw).hexdigest().upper()}"')
