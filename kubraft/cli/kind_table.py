"""Finds the kind that a person means: `po`, `pods`, `Pod`, `deploy`, `deployments.apps`, `all`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kubraft.api.gvk import GroupVersionKind
from kubraft.cli.failure import CommandError
from kubraft.client.client import Kind


class KindTable:
    """All kinds of a server. The core group goes first where a name means several."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = sorted(kinds, key=lambda kind: (kind.gvk.group != "", kind.gvk))
        self._by_name: dict[str, Kind] = {}
        for kind in self._kinds:
            for name in _names(kind):
                self._by_name.setdefault(name, kind)
        self._by_gvk = {kind.gvk: kind for kind in self._kinds}

    def get(self, name: str) -> Kind:
        """The kind of that name, in any of its forms and in any case.

        Raises:
            CommandError: there is none.
        """
        kind = self._by_name.get(name.lower())
        if kind is None:
            raise CommandError(f'the server doesn\'t have a resource type "{name}"')
        return kind

    def find(self, gvk: GroupVersionKind) -> Kind | None:
        """The kind with exactly that group, version and kind."""
        return self._by_gvk.get(gvk)

    def category(self, name: str) -> list[Kind]:
        """The kinds of a category such as `all`; empty where there is no such category."""
        return [kind for kind in self._kinds if name.lower() in kind.categories]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)


def _names(kind: Kind) -> Iterable[str]:
    """Every way to name it; with the group where that is needed, or wished."""
    group = kind.gvk.group
    for name in dict.fromkeys([kind.plural, kind.singular, kind.gvk.kind.lower()]):
        yield name
        if group:
            yield f"{name}.{group}"
            yield f"{name}.{kind.gvk.version}.{group}"
    yield from kind.short_names


def qualified(kind: Kind) -> str:
    """How messages name the kind: "pod", "deployment.apps"."""
    return f"{kind.singular}.{kind.gvk.group}" if kind.gvk.group else kind.singular


def qualified_plural(kind: Kind) -> str:
    """How messages name its resource: "pods", "deployments.apps"."""
    return f"{kind.plural}.{kind.gvk.group}" if kind.gvk.group else kind.plural


class Target(NamedTuple):
    """One kind, and the names that are wanted of it; all where there are none."""

    kind: Kind
    names: tuple[str, ...] = ()


def parse_targets(kinds: KindTable, words: Sequence[str], verb: str = "get") -> list[Target]:
    """Read `pods`, `pods web-0 web-1`, `pods,deploy`, `all`, or `pod/web-0 deploy/web`.

    Raises:
        CommandError: no such kind, or the two ways to name objects are mixed.
    """
    if not words:
        raise CommandError(
            f"You must specify the type of resource to {verb}. "
            'Use "kubraft api-resources" for a complete list of supported resources.'
        )
    if any("/" in word for word in words):
        return [_slashed(kinds, word) for word in words]
    first, *names = words
    found: list[Kind] = []
    for word in first.split(","):
        if word:
            found += kinds.category(word) or [kinds.get(word)]
    return [Target(kind, tuple(names)) for kind in dict.fromkeys(found)]


def _slashed(kinds: KindTable, word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash:
        raise CommandError(
            "there is no need to specify a resource type as a separate argument when passing "
            f"arguments in resource/name form (e.g. 'kubraft get pod/web' instead of '{word}')"
        )
    if not kind or not name or "/" in name:
        raise CommandError(
            f"arguments in resource/name form must have a single resource and name: {word}"
        )
    return Target(kinds.get(kind), (name,))
