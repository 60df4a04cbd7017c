"""What an apply is told that would take fields from others.

Source: apimachinery managedfields (NewConflictError), as kubectl prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from apiserver.apply import path
from apiserver.apply.managers import UPDATE, Identity
from apiserver.apply.path import Path


class Conflict(NamedTuple):
    """A field that an apply sets to another value than its manager did."""

    manager: Identity
    path: Path


class ConflictsError(Exception):
    """An apply without force meets fields of others."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(message(conflicts))
        self.conflicts = tuple(conflicts)


def shown(manager: Identity) -> str:
    """A manager as messages name it."""
    name = f'"{manager.manager}"'
    if manager.subresource:
        name += f' with subresource "{manager.subresource}"'
    return f"{name} using {manager.api_version}" if manager.operation == UPDATE else name


def message(conflicts: Sequence[Conflict]) -> str:
    """All conflicts in one text, by manager."""
    if len(conflicts) == 1:
        one = conflicts[0]
        return (
            "Apply failed with 1 conflict: conflict with "
            f"{shown(one.manager)}: {path.text(one.path)}"
        )
    lines = []
    for manager, group in groupby(conflicts, key=lambda conflict: conflict.manager):
        lines.append(f"conflicts with {shown(manager)}:")
        lines += [f"- {path.text(conflict.path)}" for conflict in group]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
