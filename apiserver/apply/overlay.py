"""A configuration merged into an object that nobody owns for it: what mutating policies do.

As a server-side apply merges, but without managers: nothing is taken back, nothing conflicts. What
is one value as a whole may not be set, so that no part of it goes by mistake.

Source: upstream's policy/mutating/patch (messages).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.apply import merging, validation
from apiserver.apply.types import Shape, Type, UnkeyedError
from apiserver.apply.updater import MergeError
from kubraft.api.object import Object

_ATOMIC = (Shape.ATOMIC_MAP, Shape.ATOMIC_LIST, Shape.OPAQUE)


def overlaid(type_: Type, live: Object, config: Object) -> Object:
    """`live` with all that `config` says; neither is changed, the answer shares parts of both.

    Raises:
        MistypedError: `config` does not fit the schema.
        MergeError: it sets what is atomic, or `live` has lists that cannot be merged.
    """
    validation.check(type_, config)
    if atomic := list(_atomics(type_, config, "")):
        shown = ", ".join(atomic)
        raise MergeError(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: " + shown
        )
    try:
        made: Object = merging.merge(type_, live, config)
    except UnkeyedError as error:
        raise MergeError(f"failed to merge patch: {error}") from error
    return made


def _atomics(type_: Type, value: Any, path: str) -> Iterator[str]:
    """Where a value has maps or lists that would be replaced as a whole."""
    if not isinstance(value, (dict, list)):
        return
    if type_.shape in _ATOMIC or (type_.shape is Shape.ANY and isinstance(value, list)):
        yield path
    if isinstance(value, dict):
        for name, each in value.items():
            if (child := type_.child(name)) is not None:
                yield from _atomics(child, each, f"{path}.{name}")
    elif type_.element is not None:
        for index, each in enumerate(value):
            yield from _atomics(type_.element, each, f"{path}[{index}]")
