"""The configuration of one member, from etcd's flags, variables or configuration file.

Source: etcd, configuration flags; server/embed (config.go), server/config (VerifyBootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store import flag_table, flags, front_options, identity, tls_config, urls
from store.flag_error import FlagError
from store.front_options import FrontOptions
from store.rpc.passwords import COST_DEFAULT, COST_MAX, COST_MIN
from store.tls_config import TlsConfig

_ELECTION_MS_MAX = 50_000
_QUOTA_BYTES_DEFAULT = 2 << 30
# etcd's levels, ours.
_LOG_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "dpanic": "error",
    "panic": "error",
    "fatal": "error",
}


@dataclass(frozen=True, slots=True)
class InitialMember:
    """A member of the initial cluster."""

    id: int
    name: str
    peer_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """What a member that was added to a running cluster is told by the others, or remembers."""

    cluster_id: int
    member_id: int
    # Where the members are, by id; empty where only the log knows.
    places: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """When members compare what they hold. Source: etcd, server/embed (config.go).

    Attributes:
        at_start: before this member serves.
        interval_s: how often the leader compares all at the newest revision; 0 is never.
        after_compactions_s: how often it looks whether there was a compaction, to compare all up
            to that; 0 is never.
    """

    at_start: bool = False
    interval_s: float = 0.0
    after_compactions_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MemberConfig:
    name: str
    data_dir: Path
    wal_dir: Path
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    advertise_peer_urls: tuple[str, ...]
    # What the flags say of the first members; means nothing to a member that has data.
    initial_cluster: tuple[InitialMember, ...]
    # Where clients that do not speak gRPC come; empty where it is the same.
    listen_client_http_urls: tuple[str, ...]
    # Where /metrics, /health, /livez, /readyz and /version are served.
    listen_metrics_urls: tuple[str, ...]
    client_tls: TlsConfig | None
    peer_tls: TlsConfig | None
    heartbeat_ms: int
    election_ms: int
    snapshot_count: int
    # Below zero there is none.
    quota_bytes: int
    request_bytes_max: int
    txn_ops_max: int
    # "periodic": keep `retention` seconds of history; "revision": keep so many revisions; 0 is off.
    auto_compaction_mode: str
    auto_compaction_retention: float
    flush_interval_s: float
    watch_progress_interval_s: float
    log_level: str
    # "simple", or "jwt" and its options.
    tokens: str
    token_ttl_s: int
    # How dear it is to check a password, as a binary logarithm.
    password_cost: int
    learners_max: int = 1
    # How the client port is served.
    front: FrontOptions = field(default_factory=FrontOptions)
    strict_reconfiguration: bool = True
    # Go on alone with what is there, whoever else was a member.
    force_new_cluster: bool = False
    # --initial-cluster-state existing: the ids come from the cluster, not from the flags.
    existing: bool = False
    joined: Joined | None = None
    comparison: Comparison = field(default_factory=Comparison)
    # URLs in plain text beside settings for TLS, each with what is not in force there.
    plain_text: tuple[tuple[str, str], ...] = ()
    # Flags that were set and mean nothing here.
    without_effect: tuple[str, ...] = ()

    @property
    def member_id(self) -> int:
        if self.joined is not None:
            return self.joined.member_id
        return next(member.id for member in self.initial_cluster if member.name == self.name)

    @property
    def cluster_id(self) -> int:
        if self.joined is not None:
            return self.joined.cluster_id
        return identity.cluster_id(member.id for member in self.initial_cluster)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> MemberConfig:
    """Raises FlagError: the message names the flag and what is wrong with it."""
    given = flags.read(arguments, environment)
    raw = {flag.name: flag.default for flag in flag_table.FLAGS.values()} | given
    name = raw["name"] or "default"
    listen_client = urls.to_listen_on("listen-client-urls", raw["listen-client-urls"])
    listen_peer = urls.to_listen_on("listen-peer-urls", raw["listen-peer-urls"])
    own_peer = urls.parse("initial-advertise-peer-urls", raw["initial-advertise-peer-urls"])
    initial = raw["initial-cluster"] or ",".join(f"{name}={url}" for url in own_peer)
    client_http, metrics = (
        urls.to_listen_on(flag, raw[flag]) if raw[flag] else ()
        for flag in ("listen-client-http-urls", "listen-metrics-urls")
    )
    data_dir = Path(raw["data-dir"] or f"{name}.etcd")
    heartbeat, election = _timing(raw)
    mode, retention = _auto_compaction(raw)
    common = tls_config.rules(raw)
    interval = "watch-progress-notify-interval"
    return MemberConfig(
        name=name,
        data_dir=data_dir,
        wal_dir=Path(raw["wal-dir"]) if raw["wal-dir"] else data_dir / "wal",
        listen_client_urls=listen_client,
        advertise_client_urls=_advertised(given, listen_client),
        listen_peer_urls=listen_peer,
        advertise_peer_urls=own_peer,
        initial_cluster=initial_cluster(initial, raw["initial-cluster-token"]),
        listen_client_http_urls=client_http,
        listen_metrics_urls=metrics,
        client_tls=tls_config.client_tls(raw, (*listen_client, *client_http, *metrics), common),
        peer_tls=tls_config.peer_tls(raw, listen_peer + own_peer, common),
        heartbeat_ms=heartbeat,
        election_ms=election,
        snapshot_count=_number(raw, "snapshot-count", 10),
        quota_bytes=_quota_bytes(raw["quota-backend-bytes"]),
        request_bytes_max=_number(raw, "max-request-bytes", 1024),
        txn_ops_max=_number(raw, "max-txn-ops", 1),
        auto_compaction_mode=mode,
        auto_compaction_retention=retention,
        flush_interval_s=flags.duration_s("backend-batch-interval", raw["backend-batch-interval"]),
        watch_progress_interval_s=max(flags.duration_s(interval, raw[interval]), 0.1),
        log_level=_log_level(raw["log-level"]),
        tokens=_auth_token(raw["auth-token"]),
        token_ttl_s=_number(raw, "auth-token-ttl", 1),
        password_cost=_password_cost(raw["bcrypt-cost"]),
        learners_max=_number(raw, "max-learners", 1),
        front=front_options.parse(raw),
        strict_reconfiguration=_switch(raw, "strict-reconfig-check"),
        force_new_cluster=_switch(raw, "force-new-cluster"),
        existing=_is_existing(raw["initial-cluster-state"]),
        comparison=_comparison(raw),
        plain_text=(
            *tls_config.not_in_force(raw, "", listen_client),
            *tls_config.not_in_force(raw, "peer-", listen_peer),
        ),
        without_effect=flags.without_effect(given),
    )


def initial_cluster(text: str, token: str) -> tuple[InitialMember, ...]:
    """Read `name=url` pairs; a name may come several times, once for each of its URLs.

    Raises:
        FlagError: a pair is not of that form, or two have the same URL.
    """
    found: dict[str, list[str]] = {}
    for pair in flags.words(text):
        name, equals, url = pair.partition("=")
        if not equals or not name:
            raise FlagError(f"--initial-cluster: {pair!r} is not of the form name=url")
        found.setdefault(name, []).extend(urls.parse("initial-cluster", url))
    everywhere = [url for each in found.values() for url in each]
    if len(set(everywhere)) < len(everywhere):
        raise FlagError(f"initial cluster {text} has duplicate url")
    return tuple(
        InitialMember(identity.member_id(each, token), name, tuple(each))
        for name, each in found.items()
    )


def check_bootstrap(config: MemberConfig) -> None:
    """Refuse flags that a member without data cannot begin with; one that has data knows better.

    Raises:
        FlagError: this member is not in the initial cluster, or at another URL.
    """
    check_in_initial_cluster(config.initial_cluster, config.name, config.advertise_peer_urls)


def check_in_initial_cluster(
    members: Sequence[InitialMember], name: str, peer_urls: Sequence[str]
) -> None:
    """Raises FlagError: `name` is none of `members`, or at other URLs."""
    own = [member for member in members if member.name == name]
    if not own:
        raise FlagError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    there = own[0].peer_urls
    if sorted(there) != sorted(peer_urls):
        raise FlagError(
            f"--initial-cluster has {','.join(f'{name}={url}' for url in there)} "
            f"but missing from --initial-advertise-peer-urls={','.join(peer_urls)}"
        )


def _advertised(given: Mapping[str, str], listen: tuple[str, ...]) -> tuple[str, ...]:
    text = given.get("advertise-client-urls")
    if text:
        return urls.parse("advertise-client-urls", text)
    if given.get("listen-client-urls") and "config-file" not in given:
        raise FlagError(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )
    return listen


def _number(raw: Mapping[str, str], name: str, least: int) -> int:
    return flags.integer(name, raw[name], least=least)


def _quota_bytes(text: str) -> int:
    """Source: etcd, server/storage (quota.go): zero is the default, less switches it off."""
    return flags.integer("quota-backend-bytes", text) or _QUOTA_BYTES_DEFAULT


def _comparison(raw: Mapping[str, str]) -> Comparison:
    gates = flags.gates(raw["feature-gates"])
    after_compactions = "CompactHashCheck" in gates or _switch(
        raw, "experimental-compact-hash-check-enabled"
    )
    every_s, look_s = (
        flags.duration_s(name, raw[name])
        for name in ("corrupt-check-time", "compact-hash-check-time")
    )
    if every_s < 0:
        raise FlagError("--corrupt-check-time: below zero")
    if look_s <= 0:
        raise FlagError("--compact-hash-check-time must be >0")
    return Comparison(
        at_start="InitialCorruptCheck" in gates
        or _switch(raw, "experimental-initial-corrupt-check"),
        interval_s=every_s,
        after_compactions_s=look_s if after_compactions else 0.0,
    )


def _switch(raw: Mapping[str, str], name: str) -> bool:
    return flags.boolean(name, raw[name])


def _is_existing(state: str) -> bool:
    if state not in {"new", "existing"}:
        raise FlagError(f"--initial-cluster-state: {state!r} is neither new nor existing")
    return state == "existing"


def _timing(raw: Mapping[str, str]) -> tuple[int, int]:
    heartbeat = _number(raw, "heartbeat-interval", 10)
    election = _number(raw, "election-timeout", 50)
    if election < 5 * heartbeat:
        raise FlagError(
            f"--election-timeout[{election}ms] should be at least as 5 times as "
            f"--heartbeat-interval[{heartbeat}ms]"
        )
    if election > _ELECTION_MS_MAX:
        raise FlagError(
            f"--election-timeout[{election}ms] is too long, and should be set less than "
            f"{_ELECTION_MS_MAX}ms"
        )
    return heartbeat, election


def _auto_compaction(raw: Mapping[str, str]) -> tuple[str, float]:
    """A bare number of the periodic mode counts hours, as in etcd."""
    mode, text = raw["auto-compaction-mode"], raw["auto-compaction-retention"]
    if mode not in {"periodic", "revision"}:
        raise FlagError(f'unknown --auto-compaction-mode "{mode}"')
    if text.isdecimal():
        return mode, float(text) * (3600 if mode == "periodic" else 1)
    if mode == "revision":
        raise FlagError(f"--auto-compaction-retention: {text!r} is not a number of revisions")
    return mode, flags.duration_s("auto-compaction-retention", text)


def _log_level(text: str) -> str:
    found = _LOG_LEVELS.get(text)
    if found is None:
        levels = "debug, info, warn, error, panic, or fatal"
        raise FlagError(f"--log-level: {text!r} is none of {levels}")
    return found


def _auth_token(text: str) -> str:
    if text != "simple" and not text.startswith("jwt,"):
        raise FlagError(f"--auth-token: {text!r} is neither simple nor jwt with options")
    return text


def _password_cost(text: str) -> int:
    """A cost that cannot be paid becomes the default, as in etcd."""
    cost = flags.integer("bcrypt-cost", text, least=0)
    return cost if COST_MIN <= cost <= COST_MAX else COST_DEFAULT
