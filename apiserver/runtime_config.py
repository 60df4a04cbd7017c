"""Which groups, versions and resources are offered to clients: --runtime-config. Pure.

What is turned off is neither found nor discovered; the server itself goes on using it.
Source: kube-apiserver, --runtime-config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from apiserver.registry.resource import Resource

_ALL: Final = "api/all"
# Later ones count for more.
_CLASSES: Final[Mapping[str, re.Pattern[str]]] = {
    _ALL: re.compile(r".*"),
    "api/ga": re.compile(r"v\d+"),
    "api/beta": re.compile(r"v\d+beta\d+"),
    "api/alpha": re.compile(r"v\d+alpha\d+"),
}
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True", ""))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What was said of classes of versions, of versions and of resources, by their names."""

    classes: Mapping[str, bool] = field(default_factory=dict)
    # Group, version and resource; the last is empty where all of a version are meant.
    named: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)

    def offers(self, group: str, version: str, plural: str) -> bool:
        """Whether a built-in resource is offered."""
        offered = True
        for name, pattern in _CLASSES.items():
            if name in self.classes and pattern.fullmatch(version):
                offered = self.classes[name]
        offered = self.named.get((group, version, ""), offered)
        return self.named.get((group, version, plural), offered)

    def check(self, rows: Iterable[Resource]) -> None:
        """Raises ValueError where something is turned on that is not there."""
        known: set[tuple[str, str, str]] = set()
        for row in rows:
            group, version, _ = row.gvk
            known |= {(group, version, ""), (group, version, row.plural)}
        for name, on in self.named.items():
            if on and name not in known:
                shown = "/".join(part for part in name if part)
                raise ValueError(f"--runtime-config: {shown} is not offered here")


EVERYTHING: Final = RuntimeConfig()


def parse_runtime_config(text: str) -> RuntimeConfig:
    """Read `group/version=false,api/beta=true,...`.

    Raises:
        ValueError: a key or a value is none; the text is upstream's.
    """
    classes: dict[str, bool] = {}
    named: dict[tuple[str, str, str], bool] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = part.partition("=")
        if key in _CLASSES:
            if value not in ("true", "false"):
                raise ValueError(f"--runtime-config: invalid value {key}={value}")
            classes[key] = value == "true"
            continue
        words = key.split("/")
        if key == "v1":
            words = ["", "v1"]
        if len(words) not in (2, 3) or not all(words[1:]):
            raise ValueError(f"--runtime-config: runtime-config invalid key {key}")
        if value not in _TRUE | _FALSE:
            raise ValueError(
                f"--runtime-config: invalid value of {key}: {value}, err: strconv.ParseBool: "
                f'parsing "{value}": invalid syntax'
            )
        group, version, plural = (*words, "")[:3]
        named["" if group == "api" else group, version, plural] = value in _TRUE
    if classes == {_ALL: False} and not named:
        raise ValueError(f"--runtime-config: invalid key with only {_ALL}=false")
    return RuntimeConfig(classes, named)


def offered_by(config: RuntimeConfig) -> Callable[[Resource], bool]:
    """Whether a row is offered; those of custom resources always are."""

    def offered(row: Resource) -> bool:
        group, version, _ = row.gvk
        return row.custom is not None or config.offers(group, version, row.plural)

    return offered
