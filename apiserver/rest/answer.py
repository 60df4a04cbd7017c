"""Answers as bytes. An object's bytes go out as the cache holds them; nothing is decoded for that.

Source: Kubernetes API conventions; "Receiving resources as Tables".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from apiserver import notes
from apiserver.registry.resource import Resource
from apiserver.registry.table import table
from apiserver.rest.content import write_yaml
from apiserver.rest.media import JSON, Form, View
from apiserver.storage.entry import Entry
from apiserver.storage.reads import Listing
from kubraft.api.errors import ApiError, BadRequestError
from kubraft.api.object import Object
from kubraft.grpc_server.exchange import HttpResponse

COMMON = (("cache-control", "no-cache, private"),)
WARNINGS_MAX = 32
INCLUDES = ("None", "Metadata", "Object")
_METADATA_KIND = "PartialObjectMetadata"


def response(
    status: int, raw: bytes, form: Form | None = None, warnings: Sequence[str] = ()
) -> HttpResponse:
    """JSON bytes as an answer, in YAML where the form says so."""
    headers = [("content-type", JSON if form is None else form.content_type), *COMMON]
    headers += _warnings(*warnings, *notes.warnings())
    if form is not None and form.yaml:
        raw = write_yaml(raw)
    return HttpResponse(status, raw, headers)


def plain(status: int, text: str) -> HttpResponse:
    """A few words."""
    nosniff = ("x-content-type-options", "nosniff")
    kind = ("content-type", "text/plain; charset=utf-8")
    return HttpResponse(status, text.encode(), (kind, *COMMON, nosniff))


def failure(error: ApiError) -> HttpResponse:
    """The Status of an error."""
    headers = [("content-type", JSON), *COMMON, *_warnings(*notes.warnings())]
    if error.retry_after_s:
        headers.append(("retry-after", str(error.retry_after_s)))
    return HttpResponse(error.code, orjson.dumps(error.to_status()), headers)


def _warnings(*texts: str) -> list[tuple[str, str]]:
    return [("warning", f"299 - {quoted(text)}") for text in texts[:WARNINGS_MAX]]


def quoted(text: str) -> str:
    """A quoted-string of HTTP; what cannot stand in a header is left out."""
    kept = "".join(sign for sign in text if sign.isprintable()).encode("latin-1", "replace")
    escaped = kept.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def one(
    resource: Resource, entry: Entry, form: Form, now: Callable[[], datetime], include: str
) -> bytes:
    """One object in the form that is wanted."""
    if form.view is View.OBJECT:
        return entry.raw
    if form.view is View.TABLE:
        shown = rows(resource, [entry.decode()], form, now(), include)
        return orjson.dumps({**shown, "metadata": {"resourceVersion": str(entry.revision)}})
    return metadata_of(entry.raw, form)


def many(resource: Resource, listing: Listing, form: Form, now: datetime, include: str) -> bytes:
    """A list in the form that is wanted."""
    metadata: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        metadata["continue"] = listing.continue_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
    if form.view is View.TABLE:
        objects = (entry.decode() for entry in listing.entries)
        shown = rows(resource, objects, form, now, include)
        return orjson.dumps({**shown, "metadata": metadata})
    items: Iterable[bytes] = (entry.raw for entry in listing.entries)
    kind, api_version = resource.list_kind, resource.gvk.api_version
    if resource.custom is None and form.view is View.OBJECT:
        items = untyped(items, api_version, resource.gvk.kind)
    if form.view is not View.OBJECT:
        kind, api_version = f"{_METADATA_KIND}List", f"meta.k8s.io/{form.meta_version}"
        items = (metadata_of(raw, form) for raw in items)
    return b'{"kind":%b,"apiVersion":%b,"metadata":%b,"items":[%b]}\n' % (
        orjson.dumps(kind),
        orjson.dumps(api_version),
        orjson.dumps(metadata),
        b",".join(items),
    )


def untyped(items: Iterable[bytes], api_version: str, kind: str) -> Iterator[bytes]:
    """Items of a list of a built-in kind: the list says their type, they do not. As upstream."""
    head = b'{"apiVersion":%b,"kind":%b,' % (orjson.dumps(api_version), orjson.dumps(kind))
    begin = len(head)
    for raw in items:
        if raw.startswith(head):
            yield b"{" + raw[begin:]
        else:
            left = orjson.loads(raw)
            yield orjson.dumps({k: v for k, v in left.items() if k not in ("apiVersion", "kind")})


def metadata_of(raw: bytes, form: Form) -> bytes:
    """An object's metadata alone."""
    return orjson.dumps(
        {
            "kind": _METADATA_KIND,
            "apiVersion": f"meta.k8s.io/{form.meta_version}",
            "metadata": orjson.loads(raw)["metadata"],
        }
    )


def rows(
    resource: Resource, objects: Iterable[Object], form: Form, now: datetime, include: str
) -> Object:
    """A Table of some objects."""
    if include not in INCLUDES:
        raise BadRequestError(
            f'includeObject: Unsupported value: "{include[:64]}": '
            'supported values: "", "Metadata", "None", "Object"'
        )
    made = table(resource, objects, now, {}, include=include)
    made["apiVersion"] = f"meta.k8s.io/{form.meta_version}"
    return made
