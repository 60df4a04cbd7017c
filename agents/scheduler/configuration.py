"""A KubeSchedulerConfiguration, read into which plugins each profile has at which point.

Source: Kubernetes API reference, kubescheduler.config.k8s.io/v1; Kubernetes documentation,
"Scheduler Configuration" (multiPoint, and the order in which plugins of both kinds stand).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.scheduler.framework import POINTS
from agents.scheduler.queue import BACKOFF_S_MAX, BACKOFF_S_MIN
from kubraft.api.pods import DEFAULT_SCHEDULER

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"
PROFILES_MAX = 64

# Plugin name and weight, in the order in which they are asked; weight 0 means 1.
Enabled = tuple[tuple[str, float], ...]

# Understood, but of no meaning here: flags say it, or there is no such thing.
_IGNORED = {
    "clientConnection", "contentType", "debuggingConfiguration", "delayCacheUntilActive",
    "enableContentionProfiling", "enableProfiling", "healthzBindAddress", "leaderElection",
    "metricsBindAddress", "parallelism",
}  # fmt: skip
_KNOWN = _IGNORED | {
    "apiVersion", "kind", "percentageOfNodesToScore", "podInitialBackoffSeconds",
    "podMaxBackoffSeconds", "profiles",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """What is wanted of one profile."""

    scheduler_name: str = DEFAULT_SCHEDULER
    points: Mapping[str, Enabled] = field(default_factory=dict)
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by plugin
    percentage_of_nodes_to_score: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is wanted of the scheduler."""

    profiles: tuple[ProfileSpec, ...]
    backoff_s_min: float = BACKOFF_S_MIN
    backoff_s_max: float = BACKOFF_S_MAX


def configuration(given: Mapping[str, Any], defaults: Enabled) -> Configuration:
    """Read a configuration; an empty one is the default.

    Args:
        defaults: the plugins, with weights, that a profile has where nothing is said.

    Raises:
        ValueError: a field is unknown, or says what cannot be.
    """
    _check_kind(given)
    percent = _percent(given, "")
    written = given.get("profiles") or [{}]
    if len(written) > PROFILES_MAX:
        raise ValueError(f"profiles: Too many: {len(written)}: must have at most {PROFILES_MAX}")
    profiles = tuple(
        _profile(profile, f"profiles[{index}]", defaults, percent)
        for index, profile in enumerate(written)
    )
    names = [profile.scheduler_name for profile in profiles]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f'profiles[{index}].schedulerName: Duplicate value: "{name}"')
    least = given.get("podInitialBackoffSeconds", BACKOFF_S_MIN)
    most = given.get("podMaxBackoffSeconds", BACKOFF_S_MAX)
    if least <= 0 or most < least:
        raise ValueError("podMaxBackoffSeconds: must be at least podInitialBackoffSeconds, above 0")
    return Configuration(profiles, float(least), float(most))


def _check_kind(given: Mapping[str, Any]) -> None:
    if given and (given.get("apiVersion"), given.get("kind")) != (API_VERSION, KIND):
        raise ValueError(
            f'no kind "{given.get("kind", "")}" is registered for version '
            f'"{given.get("apiVersion", "")}": it must be {KIND} of {API_VERSION}'
        )
    if "extenders" in given:
        raise ValueError("extenders: not supported: write a plugin")
    _only(given, _KNOWN, "")


def _profile(given: Mapping[str, Any], path: str, defaults: Enabled, percent: int) -> ProfileSpec:
    _only(
        given, {"schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"}, f"{path}."
    )
    args: dict[str, Mapping[str, Any]] = {}
    for index, each in enumerate(given.get("pluginConfig") or ()):
        name = each.get("name")
        if not name or name in args:
            raise ValueError(f"{path}.pluginConfig[{index}]: repeated or missing name: {name}")
        args[name] = each.get("args") or {}
    name = given.get("schedulerName") or DEFAULT_SCHEDULER
    plugins = given.get("plugins") or {}
    own = _percent(given, f"{path}.")
    return ProfileSpec(name, _points(plugins, path, defaults), args, own or percent)


def _points(plugins: Mapping[str, Any], path: str, defaults: Enabled) -> dict[str, Enabled]:
    _only(plugins, {*POINTS, "multiPoint"}, f"{path}.plugins.")
    everywhere = _merged(plugins.get("multiPoint") or {}, defaults)
    return {point: _at_point(plugins.get(point) or {}, everywhere) for point in POINTS}


def _merged(given: Mapping[str, Any], defaults: Enabled) -> Enabled:
    """The defaults without what is disabled; what is named again takes the default's place."""
    disabled = _names(given, "disabled")
    enabled = dict(_enabled(given))
    kept = [
        (name, enabled.pop(name) or weight) if name in enabled else (name, weight)
        for name, weight in defaults
        if name in enabled or not disabled & {name, "*"}
    ]
    return (*kept, *enabled.items())


def _at_point(given: Mapping[str, Any], everywhere: Enabled) -> Enabled:
    """What one point says comes before what is said for all, unless it is only said there."""
    disabled, named = _names(given, "disabled"), dict(_enabled(given))
    weights = dict(everywhere)
    first = [(n, w or weights[n]) for n, w in named.items() if n in weights]
    rest = [(n, w) for n, w in everywhere if n not in named and not disabled & {n, "*"}]
    return (*first, *rest, *((n, w) for n, w in named.items() if n not in weights))


def _enabled(given: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    found = []
    for each in given.get("enabled") or ():
        _only(each, {"name", "weight"}, "plugins.enabled.")
        weight = each.get("weight") or 0
        if not each.get("name") or not isinstance(weight, int) or weight < 0:
            raise ValueError(f"plugins.enabled: not a plugin's name and weight: {dict(each)}")
        found.append((each["name"], weight))
    return found


def _names(given: Mapping[str, Any], key: str) -> set[str]:
    return {each["name"] for each in given.get(key) or () if each.get("name")}


def _percent(given: Mapping[str, Any], path: str) -> int:
    percent = given.get("percentageOfNodesToScore") or 0
    if not isinstance(percent, int) or not 0 <= percent <= 100:
        raise ValueError(
            f"{path}percentageOfNodesToScore: Invalid value: {percent}: not in valid range [0-100]"
        )
    return percent


def _only(given: object, known: set[str], path: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{path.rstrip('.') or KIND}: must be an object")  # noqa: TRY004 - what it says, not code
    for name in given:
        if name not in known:
            raise ValueError(f'strict decoding error: unknown field "{path}{name}"')
