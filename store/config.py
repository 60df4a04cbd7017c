"""The configuration of one member, from etcd's flags and environment variables.

Source: etcd, configuration flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store import flags, identity
from store.flags import FlagError
from store.rpc.passwords import COST_DEFAULT, COST_MAX, COST_MIN

_DEFAULTS = {
    "name": "default",
    "listen-client-urls": "http://localhost:2379",
    "listen-peer-urls": "http://localhost:2380",
    "initial-advertise-peer-urls": "http://localhost:2380",
    "initial-cluster-state": "new",
    "initial-cluster-token": "etcd-cluster",
    "max-learners": "1",
    "heartbeat-interval": "100",
    "election-timeout": "1000",
    "snapshot-count": "10000",
    "quota-backend-bytes": str(2 << 30),
    "max-request-bytes": str(3 * 512 * 1024),
    "max-txn-ops": "128",
    "auto-compaction-mode": "periodic",
    "auto-compaction-retention": "0",
    "backend-batch-interval": "500ms",
    "watch-progress-notify-interval": "10m",
    "log-level": "info",
    "auth-token": "simple",
    "auth-token-ttl": "300",
    "bcrypt-cost": str(COST_DEFAULT),
}
_FILES = ("cert-file", "key-file", "trusted-ca-file")
_PEER_FILES = ("peer-cert-file", "peer-key-file", "peer-trusted-ca-file")
# What these tune in etcd has no counterpart here; they are read so that scripts can set them.
_WITHOUT_EFFECT = (
    "backend-batch-limit",
    "log-format",
    "log-outputs",
    "logger",
    "max-snapshots",
    "max-wals",
    "metrics",
)
_SWITCHES_WITHOUT_EFFECT = ("pre-vote", "strict-reconfig-check")
_VALUES = (
    *_DEFAULTS,
    "data-dir",
    "listen-metrics-urls",
    *_WITHOUT_EFFECT,
    "advertise-client-urls",
    "initial-cluster",
    *_FILES,
    *_PEER_FILES,
)
_BOOLEANS = ("client-cert-auth", "peer-client-cert-auth", *_SWITCHES_WITHOUT_EFFECT)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """PEM files of one port; without `ca_file` no client certificate is asked for."""

    cert_file: Path
    key_file: Path
    ca_file: Path | None
    client_cert_auth: bool


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
class MemberConfig:
    name: str
    data_dir: Path
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    initial_cluster: tuple[InitialMember, ...]
    # Where /metrics, /health, /livez, /readyz and /version are served.
    listen_metrics_urls: tuple[str, ...]
    client_tls: TlsConfig | None
    peer_tls: TlsConfig | None
    heartbeat_ms: int
    election_ms: int
    snapshot_count: int
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
    # --initial-cluster-state existing: the ids come from the cluster, not from the flags.
    existing: bool = False
    joined: Joined | None = None

    @property
    def own_peer_urls(self) -> tuple[str, ...]:
        return next(m.peer_urls for m in self.initial_cluster if m.name == self.name)

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
    raw = {
        **_DEFAULTS,
        **flags.read(arguments, environment, values=_VALUES, booleans=_BOOLEANS),
    }
    name = raw["name"]
    listen_client = flags.urls("listen-client-urls", raw["listen-client-urls"])
    listen_peer = flags.urls("listen-peer-urls", raw["listen-peer-urls"])
    own_peer = flags.urls("initial-advertise-peer-urls", raw["initial-advertise-peer-urls"])
    advertise = flags.urls(
        "advertise-client-urls", raw.get("advertise-client-urls", ",".join(listen_client))
    )
    initial = raw.get("initial-cluster") or ",".join(f"{name}={url}" for url in own_peer)
    cluster = _initial_cluster(initial, raw["initial-cluster-token"])
    _check_self(cluster, name, own_peer)
    metrics_text = raw.get("listen-metrics-urls", "")
    metrics = flags.urls("listen-metrics-urls", metrics_text) if metrics_text else ()
    heartbeat, election = _timing(raw)
    mode, retention = _auto_compaction(raw)
    interval = "watch-progress-notify-interval"
    if raw["initial-cluster-state"] not in {"new", "existing"}:
        state = raw["initial-cluster-state"]
        raise FlagError(f"--initial-cluster-state: {state!r} is neither new nor existing")
    return MemberConfig(
        name=name,
        data_dir=Path(raw.get("data-dir") or f"{name}.etcd"),
        listen_client_urls=listen_client,
        advertise_client_urls=advertise,
        listen_peer_urls=listen_peer,
        initial_cluster=cluster,
        listen_metrics_urls=metrics,
        client_tls=_tls(
            raw, _FILES, "client-cert-auth", listen_client + metrics, "listen-client-urls"
        ),
        peer_tls=_tls(
            raw, _PEER_FILES, "peer-client-cert-auth", listen_peer + own_peer, "listen-peer-urls"
        ),
        heartbeat_ms=heartbeat,
        election_ms=election,
        snapshot_count=flags.integer("snapshot-count", raw["snapshot-count"], least=10),
        quota_bytes=flags.integer("quota-backend-bytes", raw["quota-backend-bytes"], least=0)
        or 2 << 30,
        request_bytes_max=flags.integer("max-request-bytes", raw["max-request-bytes"], least=1024),
        txn_ops_max=flags.integer("max-txn-ops", raw["max-txn-ops"], least=1),
        auto_compaction_mode=mode,
        auto_compaction_retention=retention,
        flush_interval_s=flags.duration_s("backend-batch-interval", raw["backend-batch-interval"]),
        watch_progress_interval_s=max(flags.duration_s(interval, raw[interval]), 0.1),
        log_level=raw["log-level"],
        tokens=_auth_token(raw["auth-token"]),
        token_ttl_s=flags.integer("auth-token-ttl", raw["auth-token-ttl"], least=1),
        password_cost=_password_cost(raw["bcrypt-cost"]),
        learners_max=flags.integer("max-learners", raw["max-learners"], least=1),
        existing=raw["initial-cluster-state"] == "existing",
    )


def _initial_cluster(text: str, token: str) -> tuple[InitialMember, ...]:
    """`name=url` pairs; a name may come several times, once for each of its URLs."""
    urls: dict[str, list[str]] = {}
    for pair in filter(None, text.split(",")):
        name, equals, url = pair.strip().partition("=")
        if not equals or not name:
            raise FlagError(f"--initial-cluster: {pair!r} is not of the form name=url")
        flags.host_and_port("initial-cluster", url)
        urls.setdefault(name, []).append(url.rstrip("/"))
    return tuple(
        InitialMember(identity.member_id(found, token), name, tuple(found))
        for name, found in urls.items()
    )


def _check_self(cluster: tuple[InitialMember, ...], name: str, own: tuple[str, ...]) -> None:
    ours = [member for member in cluster if member.name == name]
    if not ours:
        raise FlagError(f"--initial-cluster: member {name!r} of --name is not in it")
    if sorted(ours[0].peer_urls) != sorted(own):
        raise FlagError(
            f"--initial-cluster: has {name}={','.join(ours[0].peer_urls)} but "
            f"--initial-advertise-peer-urls is {','.join(own)}"
        )


def _timing(raw: Mapping[str, str]) -> tuple[int, int]:
    heartbeat = flags.integer("heartbeat-interval", raw["heartbeat-interval"], least=10)
    election = flags.integer("election-timeout", raw["election-timeout"], least=50)
    if election < 5 * heartbeat:
        raise FlagError(
            f"--election-timeout: {election} ms is not at least five times "
            f"--heartbeat-interval, {heartbeat} ms"
        )
    return heartbeat, election


def _auto_compaction(raw: Mapping[str, str]) -> tuple[str, float]:
    """A bare number of the periodic mode counts hours, as in etcd."""
    mode, text = raw["auto-compaction-mode"], raw["auto-compaction-retention"]
    if mode not in {"periodic", "revision"}:
        raise FlagError(f"--auto-compaction-mode: {mode!r} is neither periodic nor revision")
    if text.isdecimal():
        return mode, float(text) * (3600 if mode == "periodic" else 1)
    if mode == "revision":
        raise FlagError(f"--auto-compaction-retention: {text!r} is not a number of revisions")
    return mode, flags.duration_s("auto-compaction-retention", text)


def _auth_token(text: str) -> str:
    if text != "simple" and not text.startswith("jwt,"):
        raise FlagError(f"--auth-token: {text!r} is neither simple nor jwt with options")
    return text


def _password_cost(text: str) -> int:
    """A cost that cannot be paid becomes the default, as in etcd."""
    cost = flags.integer("bcrypt-cost", text, least=0)
    return cost if COST_MIN <= cost <= COST_MAX else COST_DEFAULT


def _tls(
    raw: Mapping[str, str], files: tuple[str, ...], auth: str, urls: tuple[str, ...], listen: str
) -> TlsConfig | None:
    """The TLS files of a port; None where it speaks plain text."""
    cert, key, ca = (raw.get(name) for name in files)
    client_cert_auth = flags.boolean(auth, raw.get(auth, "false"))
    if not any(url.startswith("https:") for url in urls):
        return None
    if not cert or not key:
        missing = files[0] if not cert else files[1]
        raise FlagError(f"--{listen}: {urls[0]} needs --{missing}")
    if client_cert_auth and not ca:
        raise FlagError(f"--{auth}: needs --{files[2]}")
    return TlsConfig(Path(cert), Path(key), Path(ca) if ca else None, client_cert_auth)
