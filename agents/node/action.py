"""The steps that a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make a sandbox; the one before it, if any, is gone."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop a sandbox; no container runs in it that should."""

    id: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container."""

    name: str
    attempt: int
    failed_at_s: float = 0.0  # when its former life ended


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Stop a running container; `message` is what its Killing event says."""

    id: str
    name: str
    message: str
    grace_s: float | None = None  # None: the Pod's
    after: tuple[str, ...] = ()  # ids of those that are to end before it gets its signal
    restart: bool = False  # it is to be started anew, however well it ends


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget a life of a container that nobody asks for any more."""

    id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Forget a sandbox that is not in use any more."""

    id: str


@dataclass(frozen=True, slots=True)
class FinishDeletion:
    """Nothing runs any more: the object may go."""


Action = (
    CreateSandbox
    | StopSandbox
    | StartContainer
    | StopContainer
    | RemoveContainer
    | RemoveSandbox
    | FinishDeletion
)
