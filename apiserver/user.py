"""Who asks, as authentication found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class User:
    """One caller; `groups` decide most of what it may do.

    Source: Kubernetes authentication, "user.Info".
    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# The API server itself: bootstrap and admission plugins write under this name.
SYSTEM = User("system:apiserver", groups=("system:masters",))
