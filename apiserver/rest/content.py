"""Bodies of requests, read with bounds: JSON, YAML whose aliases may not blow it up, protobuf."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson

from apiserver.registry.patches import MERGE, STRATEGIC
from apiserver.rest import media
from apiserver.rpc.body import DEPTH_MAX, read_json, repeated_fields
from apiserver.schema import protobuf
from apiserver.schema.decoder import UNKNOWN_FIELDS_MAX
from apiserver.schema.schemas import FieldValidation
from kubraft.api.errors import BadRequestError

YAML_NODES_MAX = 100_000
_JSON = ("", media.JSON, MERGE, STRATEGIC)


def read(raw: bytes, content_type: str) -> Any:
    """The JSON value of a body.

    Raises:
        UnsupportedMediaTypeError: its type is not read here.
        BadRequestError: it is malformed, too deep or too large.
    """
    if media.media_type(content_type) == media.PROTOBUF:
        return read_protobuf(raw)
    if media.is_yaml(content_type):
        return read_yaml(raw)
    return read_json(raw, strict=False)


def read_object(raw: bytes, content_type: str) -> dict[str, Any]:
    """As `read`, for what must be an object."""
    value = read(raw, content_type)
    if not isinstance(value, dict):
        raise BadRequestError("the body of the request must be an object")
    return value


def repeated(raw: bytes, content_type: str, value: Any, mode: FieldValidation) -> tuple[str, ...]:
    """What is to be said of fields that JSON names twice; `value` is what `raw` was read as."""
    if mode is FieldValidation.IGNORE or media.media_type(content_type) not in _JSON:
        return ()
    return tuple(repeated_fields(raw, value))


def read_protobuf(raw: bytes) -> Any:
    """An object in Kubernetes' binary form, which typed Go clients send.

    Raises:
        BadRequestError: it is none.
    """
    try:
        return protobuf.decode(raw)
    except protobuf.MalformedError as error:
        raise BadRequestError(f"the body is not a valid object: {error}") from error


def read_yaml(raw: bytes) -> Any:
    """One YAML document as JSON values.

    Raises:
        BadRequestError: it is no YAML that JSON could say, or over a bound.
    """
    import yaml  # noqa: PLC0415 - rare, and slow to import

    try:
        _check_bounds(yaml.parse(raw, yaml.CSafeLoader))
        value = yaml.load(raw, _loader())  # noqa: S506 - a safe loader without timestamps
        return orjson.loads(orjson.dumps(value))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        first = str(error).partition("\n")[0][:256]
        raise BadRequestError(f"yaml: {first}") from error


def read_config(raw: bytes) -> dict[str, Any]:
    """The configuration that an apply sends, in YAML or in JSON.

    Raises:
        BadRequestError: it is neither, or over a bound.
    """
    if raw.lstrip()[:1] == b"{":
        with contextlib.suppress(ValueError):
            orjson.loads(raw)
            return read_object(raw, media.JSON)
    try:
        value = read_yaml(raw)
    except BadRequestError as error:
        raise BadRequestError(f"error decoding YAML: {error.message}") from error
    if not isinstance(value, dict):
        raise BadRequestError(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            "unmarshal the configuration into Go value of type map[string]interface {}"
        )
    return value


def repeated_keys(raw: bytes) -> tuple[str, ...]:
    """What is to be said of a configuration that names fields twice; empty where none.

    `raw` has been read by `read_config`, which holds it within bounds.
    """
    try:
        found = [] if orjson.dumps(orjson.loads(raw)) == raw else _repeated_in_json(raw)
    except ValueError:
        found = _repeated_in_yaml(raw)
    if not found:
        return ()
    lines = "\n".join(f"  {line} already set in map" for line in found[:UNKNOWN_FIELDS_MAX])
    return (f"error converting YAML to JSON: yaml: unmarshal errors:\n{lines}",)


def _repeated_in_json(raw: bytes) -> list[str]:
    import json  # noqa: PLC0415 - only for bodies that are not in canonical form

    found: list[str] = []
    line = "" if b"\n" in raw.strip() else "line 1: "

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in items:
            if name in seen:
                found.append(f'{line}key "{name}"')
            seen.add(name)

    json.loads(raw, object_pairs_hook=pairs)
    return found


def _repeated_in_yaml(raw: bytes) -> list[str]:
    import yaml  # noqa: PLC0415 - rare, and slow to import

    found: list[str] = []
    todo = [yaml.compose(raw, yaml.CSafeLoader)]
    while todo:
        node = todo.pop()
        if isinstance(node, yaml.SequenceNode):
            todo += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if name in seen:
                    found.append(f'line {key.start_mark.line + 1}: key "{name}"')
                seen.add(name)
                todo.append(value)
    return found


def write_yaml(raw: bytes) -> bytes:
    """JSON bytes as YAML."""
    import yaml  # noqa: PLC0415 - rare, and slow to import

    text: str = yaml.dump(orjson.loads(raw), Dumper=yaml.CSafeDumper, default_flow_style=False)
    return text.encode()


def _loader() -> Any:
    import yaml  # noqa: PLC0415 - see above

    class Loader(yaml.CSafeLoader):
        """Takes dates for the strings that JSON has."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _check_bounds(events: Any) -> None:
    """Count what a document comes to with its aliases written out.

    Raises:
        ValueError: it is too deep, has too many nodes, or contains itself.
    """
    import yaml  # noqa: PLC0415 - see above

    # Each open collection: the anchor that names it, and the nodes in it so far.
    open_: list[tuple[str | None, list[int]]] = [(None, [0])]
    sizes: dict[str, int] = {}
    for event in events:
        count = open_[-1][1]
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            open_.append((event.anchor, [1]))
            if len(open_) > DEPTH_MAX:
                raise ValueError(f"the object is nested deeper than {DEPTH_MAX} levels")
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            anchor, inner = open_.pop()
            if anchor:
                sizes[anchor] = inner[0]
            count = open_[-1][1]
            count[0] += inner[0]
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError("an alias refers to what is not complete")
            count[0] += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            count[0] += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if sum(inner[0] for _, inner in open_) > YAML_NODES_MAX:
            raise ValueError("the document has too many nodes")
