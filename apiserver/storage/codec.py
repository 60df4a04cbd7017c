"""How an object becomes bytes: encoded once when written, and sent as it is to every reader.

The store keeps JSON without metadata.resourceVersion, beginning with apiVersion, kind and metadata.
Readers get the same bytes with the resourceVersion (the key's mod_revision) spliced in.
"""

from __future__ import annotations

from typing import Any

import orjson

from kubraft.api.object import Object

_METADATA = b'"metadata":{'


def encode(obj: Object) -> bytes:
    """The bytes that the store keeps of `obj`."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    return orjson.dumps(head | {k: v for k, v in obj.items() if k not in head})


def with_revision(value: bytes, revision: int) -> bytes:
    """The bytes that readers get of a stored `value`.

    Raises:
        ValueError: `value` is not a JSON object with metadata.
    """
    at = value.find(_METADATA)
    if at < 0 or not value.startswith(b'{"apiVersion":'):
        return _slowly(value, revision)
    at += len(_METADATA)
    comma = b"" if value[at : at + 1] == b"}" else b","
    return b'%b"resourceVersion":"%d"%b%b' % (value[:at], revision, comma, value[at:])


def at_revision(raw: bytes, old: int, new: int) -> bytes:
    """Bytes made by `with_revision`, with another resourceVersion."""
    return raw.replace(b'"resourceVersion":"%d"' % old, b'"resourceVersion":"%d"' % new, 1)


def decode(raw: bytes) -> Object:
    """A fresh object that the caller may change."""
    obj: Object = orjson.loads(raw)
    return obj


def _slowly(value: bytes, revision: int) -> bytes:
    obj: Any = orjson.loads(value)
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise ValueError("the stored value is not an object with metadata")  # noqa: TRY004
    return with_revision(encode(obj), revision)


def json_copy(obj: Object) -> bytes:
    """Plain bytes of an object, to decode copies from: quicker than copying it in Python."""
    return orjson.dumps(obj)
