"""Who asks, as authentication found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """One caller; `groups` decide most of what it may do.

    Source: Kubernetes authentication, "user.Info".
    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def user_info(user: User) -> dict[str, Any]:
    """A caller as reviews and webhooks are shown it: authentication.k8s.io/v1 UserInfo."""
    shown: dict[str, Any] = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


# The API server itself: bootstrap and admission plugins write under this name.
SYSTEM = User("system:apiserver", groups=("system:masters",))
