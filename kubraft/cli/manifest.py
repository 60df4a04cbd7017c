"""Reads manifests: files, folders, standard input; YAML or JSON, many documents each.

YAML is read as Kubernetes reads it: times stay texts, and a key that comes twice is an error.

Source: kubectl's `-f` and `-R`; YAML 1.1 as far as sigs.k8s.io/yaml resolves it.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.cli.failure import CommandError

SUFFIXES: Final = (".yaml", ".yml", ".json")
STDIN: Final = "-"
MANIFEST_BYTES_MAX: Final = 64 << 20


class Manifest(NamedTuple):
    """One object and where it was written."""

    source: str
    object: Object


def read_manifests(paths: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """All objects of all `paths`, in the order in which they are written; files by name.

    Raises:
        CommandError: nothing there, unreadable, not YAML or JSON, or not an object.
    """
    if not paths:
        raise CommandError("must specify one of -f")
    return [
        manifest
        for path in paths
        for source, text in _texts(path, recursive=recursive)
        for manifest in parse_manifests(text, source)
    ]


def _texts(path: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    if path == STDIN:
        yield "STDIN", _read_standard_input()
        return
    root = Path(path)
    if not root.exists():
        raise CommandError(f'the path "{path}" does not exist')
    if not root.is_dir():
        yield path, _read(root)
        return
    found = sorted(root.rglob("*") if recursive else root.iterdir())
    files = [file for file in found if file.is_file() and file.suffix in SUFFIXES]
    if not files:
        raise CommandError(
            f"error reading [{path}]: recognized file extensions are [.json .yaml .yml]"
        )
    for file in files:
        yield str(file), _read(file)


def _read_standard_input() -> str:
    # An event loop's own handler of SIGINT waits for the loop, which waits for this read.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        text = sys.stdin.read(MANIFEST_BYTES_MAX + 1)
    except UnicodeDecodeError as error:
        raise CommandError("cannot read standard input: not UTF-8") from error
    finally:
        signal.signal(signal.SIGINT, handler)
    if len(text) > MANIFEST_BYTES_MAX:
        raise CommandError(f"standard input is larger than {MANIFEST_BYTES_MAX >> 20} MiB")
    return text


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise CommandError(f"{path} is larger than {MANIFEST_BYTES_MAX >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"cannot read {path}: not UTF-8") from error


def parse_manifests(text: str, source: str) -> list[Manifest]:
    """The objects of one text; a List counts as its items, empty documents as nothing.

    Raises:
        CommandError: with `source` and, where it is known, the line.
    """
    found: list[Manifest] = []
    documents = [document for document in _documents(text, source) if document is not None]
    for number, document in enumerate(documents, 1):
        where = f"{source}, document {number}" if len(documents) > 1 else source
        for obj in _items(document, source):
            _check(obj, where)
            found.append(Manifest(source, obj))
    return found


def _documents(text: str, source: str) -> Iterable[Any]:
    try:
        if text.lstrip().startswith("{"):
            with contextlib.suppress(ValueError):  # flow style YAML begins so as well
                return list(_json_documents(text))
        return list(yaml.load_all(text, Loader=_Loader))
    except RecursionError:
        raise CommandError(f"error parsing {source}: nested too deeply") from None
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise CommandError(f"error parsing {source}: {message}") from error


def _json_documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    position = 0
    while (rest := text[position:].lstrip()) != "":
        position = len(text) - len(rest)
        document, position = decoder.raw_decode(text, position)
        yield document


def _items(document: Any, source: str) -> Iterator[Any]:
    kind = document.get("kind") if isinstance(document, dict) else None
    if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _items(item, source)
    else:
        yield document


def _check(obj: Any, source: str) -> None:
    where = f"error validating {source}"
    if not isinstance(obj, dict):
        raise CommandError(f"{where}: a document is not an object but {type(obj).__name__}")
    try:
        gvk_of(obj)
    except ValueError as error:
        raise CommandError(f"{where}: {error}") from error
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise CommandError(f"{where}: {obj['kind']}: metadata.name: Required value")
    for field in ("labels", "annotations"):
        if not isinstance(metadata.get(field) or {}, dict):
            raise CommandError(f"{where}: {obj['kind']}: metadata.{field} is not a mapping")


class _Loader(yaml.SafeLoader):
    """Safe, and without what YAML 1.1 has and Kubernetes has not: times and base-60 numbers."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" already set in map', key_node.start_mark
                )
            seen.add(key)
        self.flatten_mapping(node)
        return {
            _key_text(self.construct_object(key, deep=True)): self.construct_object(value, deep)
            for key, value in node.value
        }


def _key_text(key: Any) -> str:
    """JSON has keys of text only."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return key if isinstance(key, str) else str(key)


_TAG: Final = "tag:yaml.org,2002:"
_REPLACED_TAGS: Final = {f"{_TAG}{name}" for name in ("timestamp", "int", "float")}
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|"
    r"\.(nan|NaN|NAN)$"
)

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
