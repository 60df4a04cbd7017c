"""How the client port is served, from etcd's flags for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubraft.grpc_server.guard import STREAMS_MAX, Limits
from store import flags

ALL = frozenset({"*"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask over HTTP: --cors and --host-whitelist, each a set of names or `ALL`."""

    origins: frozenset[str] = ALL
    hosts: frozenset[str] = ALL


@dataclass(frozen=True, slots=True)
class FrontOptions:
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    gateway: bool = True


def parse(raw: Mapping[str, str]) -> FrontOptions:
    """Raises FlagError: the message names the flag and what is wrong with it."""
    streams = "max-concurrent-streams"
    limits = Limits(
        streams_max=min(flags.integer(streams, raw[streams], least=1), STREAMS_MAX),
        ping_interval_s_min=_duration_s(raw, "grpc-keepalive-min-time"),
        keepalive_interval_s=_duration_s(raw, "grpc-keepalive-interval"),
        keepalive_timeout_s=_duration_s(raw, "grpc-keepalive-timeout"),
    )
    access = Access(_names(raw["cors"]), _names(raw["host-whitelist"]))
    gateway = flags.boolean("enable-grpc-gateway", raw["enable-grpc-gateway"])
    return FrontOptions(limits, access, gateway=gateway)


def _duration_s(raw: Mapping[str, str], name: str) -> float:
    return flags.duration_s(name, raw[name])


def _names(text: str) -> frozenset[str]:
    return frozenset(flags.words(text)) or ALL
