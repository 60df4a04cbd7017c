"""How a hollow Pod behaves: when it starts, gets ready, ends, and with which exit code. Pure.

The flags of the process give the defaults; annotations of a Pod say otherwise:

    hollow.kubraft.io/start-after   from its sandbox to its containers' start, "2s"
    hollow.kubraft.io/ready-after   from a container's start to ready, "3s"; "never"
    hollow.kubraft.io/run-for       from a container's start to its end, "1m"; "forever"
    hollow.kubraft.io/exit-code     of containers that end by themselves, "1"
    hollow.kubraft.io/stop-after    from the signal to the end, within the grace period, "5s"
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kubraft.api.duration import parse_duration
from kubraft.api.object import Object, annotations_of

PREFIX: Final = "hollow.kubraft.io/"
_NEVER: Final = ("never", "forever")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One Pod's; seconds, of which `inf` is never."""

    start_after_s: float = 0.0
    ready_after_s: float = 0.0
    run_for_s: float = math.inf
    exit_code: int = 0
    stop_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Defaults:
    """What Pods do that do not say; `job_s` is how long those run that are meant to end."""

    start_after_s: float = 0.0
    ready_after_s: float = 0.0
    job_s: float = 1.0


def behaviour_of(pod: Object, defaults: Defaults) -> Behaviour:
    """What `pod` does. An annotation that cannot be read counts as absent."""
    said = annotations_of(pod)
    ends = (pod["spec"].get("restartPolicy") or "Always") != "Always"
    return Behaviour(
        start_after_s=_seconds(said, "start-after", defaults.start_after_s),
        ready_after_s=_seconds(said, "ready-after", defaults.ready_after_s),
        run_for_s=_seconds(said, "run-for", defaults.job_s if ends else math.inf),
        exit_code=_exit_code(said),
        stop_after_s=_seconds(said, "stop-after", 0.0),
    )


def _seconds(said: Mapping[str, str], name: str, default: float) -> float:
    text = said.get(PREFIX + name, "").strip()
    if text in _NEVER:
        return math.inf
    try:
        return parse_duration(text) if text else default
    except ValueError:
        return default


def _exit_code(said: Mapping[str, str]) -> int:
    text = said.get(f"{PREFIX}exit-code", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
