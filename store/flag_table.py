"""Every flag of etcd 3.4 to 3.7, and what becomes of it here.

`SUPPORTED` does what it does in etcd. `IGNORED` is read and has no effect: what it tunes has no
counterpart. `REFUSED` stops the member unless it is switched off, because the operator would miss
what it asks for. The table in docs/store.md is made of this one; a test compares them.
Source: etcd, server/etcdmain (help.go), server/embed (config.go), server/features.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kubraft.grpc_server.guard import STREAMS_MAX
from store.rpc.passwords import COST_DEFAULT


class Fate(StrEnum):
    SUPPORTED = "supported"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; the same name makes the key of the configuration file and the variable.

    Attributes:
        name: without dashes; an `experimental-` twin of it, where etcd 3.5 has one, is the same.
        default: as text; empty is not set.
        why: why it is ignored or refused, or how it differs.
        switch: it may stand alone, meaning true.
        duration: in the configuration file a number counts nanoseconds.
        off: values with which a refused flag asks for nothing.
        twins: older names of the same flag.
    """

    name: str
    fate: Fate = Fate.SUPPORTED
    default: str = ""
    why: str = ""
    switch: bool = False
    duration: bool = False
    off: tuple[str, ...] = ("", "false")
    twins: tuple[str, ...] = ()


def _twin(name: str) -> tuple[str, ...]:
    return (f"experimental-{name}",)


def _ignored(why: str, *names: str, switch: bool = False) -> list[Flag]:
    return [Flag(name, Fate.IGNORED, why=why, switch=switch) for name in names]


def _refused(why: str, *names: str, off: tuple[str, ...] = ("", "false")) -> list[Flag]:
    return [Flag(name, Fate.REFUSED, why=why, off=off) for name in names]


def _refused_switch(name: str, why: str) -> Flag:
    return Flag(name, Fate.REFUSED, why=why, switch=True)


_S, _I = Fate.SUPPORTED, Fate.IGNORED
_BOLT = "there is no bbolt here"
_DISCOVERY = "name the members in --initial-cluster"
_V2 = "the v2 API is not served"
_TRACING = "no traces are sent"

MEMBER = [
    Flag("name", default="default"),
    Flag("data-dir", why="default NAME.etcd"),
    Flag("wal-dir", why="default wal in --data-dir"),
    Flag("config-file", why="all other flags and variables are then ignored, as in etcd"),
    Flag("snapshot-count", default="10000"),
    Flag("heartbeat-interval", default="100"),
    Flag("election-timeout", default="1000"),
    Flag("listen-peer-urls", default="http://localhost:2380"),
    Flag("listen-client-urls", default="http://localhost:2379"),
    Flag("listen-client-http-urls"),
    Flag("quota-backend-bytes", default="0", why="0 is 2 GiB, below 0 is none"),
    Flag("backend-batch-interval", default="500ms", duration=True, why="how often state is synced"),
    Flag("max-txn-ops", default="128"),
    Flag("max-request-bytes", default=str(3 * 512 * 1024)),
    Flag("max-concurrent-streams", default=str((1 << 32) - 1), why=f"at most {STREAMS_MAX}"),
    Flag("grpc-keepalive-min-time", default="5s", duration=True),
    Flag("grpc-keepalive-interval", default="2h", duration=True),
    Flag("grpc-keepalive-timeout", default="20s", duration=True),
    Flag(
        "initial-election-tick-advance",
        _I,
        switch=True,
        why="the first election is never waited for longer than any other",
    ),
    *_ignored("segments and snapshots go as soon as nothing needs them", "max-wals"),
    *_ignored("there is one snapshot at a time", "max-snapshots"),
    *_ignored(_BOLT, "backend-bbolt-freelist-type", "backend-batch-limit"),
    *_ignored("ports are always taken so", "socket-reuse-address", switch=True),
    _refused_switch("socket-reuse-port", "two members on one port would divide its clients"),
    *_ignored(
        "silence on a peer connection is told by --election-timeout",
        "raft-read-timeout",
        "raft-write-timeout",
    ),
    Flag("memory-mlock", _I, switch=True, twins=_twin("memory-mlock"), why=_BOLT),
    Flag(
        "feature-gates",
        why="InitialCorruptCheck and CompactHashCheck count; unknown ones are refused",
    ),
    Flag("enable-grpc-gateway", default="true", switch=True),
]

CLUSTERING = [
    Flag("initial-advertise-peer-urls", default="http://localhost:2380"),
    Flag("initial-cluster", why="default: this member alone"),
    Flag("initial-cluster-state", default="new", why="looked at only while there is no data"),
    Flag("initial-cluster-token", default="etcd-cluster"),
    Flag("advertise-client-urls", why="required with --listen-client-urls, as in etcd"),
    Flag("strict-reconfig-check", default="true", switch=True),
    Flag("auto-compaction-mode", default="periodic"),
    Flag("auto-compaction-retention", default="0"),
    Flag("max-learners", default="1", twins=_twin("max-learners")),
    Flag("force-new-cluster", default="false", switch=True),
    *_ignored("always on", "pre-vote", switch=True),
    *_refused(
        _DISCOVERY,
        "discovery",
        "discovery-proxy",
        "discovery-srv",
        "discovery-srv-name",
        "discovery-token",
        "discovery-endpoints",
        "discovery-cert",
        "discovery-key",
        "discovery-cacert",
        "discovery-user",
        "discovery-password",
    ),
    *_ignored(
        "tunes discovery, which is refused",
        "discovery-fallback",
        "discovery-dial-timeout",
        "discovery-request-timeout",
        "discovery-keepalive-time",
        "discovery-keepalive-timeout",
    ),
    *_ignored(
        "tunes discovery, which is refused",
        "discovery-insecure-transport",
        "discovery-insecure-skip-tls-verify",
        switch=True,
    ),
    _refused_switch("enable-v2", _V2),
    *_refused(_V2, "experimental-enable-v2v3"),
    *_ignored(_V2, "v2-deprecation"),
    *_refused(_V2, "proxy", off=("", "off")),
    *_ignored(
        _V2,
        "proxy-failure-wait",
        "proxy-refresh-interval",
        "proxy-dial-timeout",
        "proxy-write-timeout",
        "proxy-read-timeout",
    ),
]

SECURITY = [
    Flag("cert-file"),
    Flag("key-file"),
    Flag("client-cert-auth", default="false", switch=True, why="needs --trusted-ca-file"),
    Flag("trusted-ca-file", why="clients then need a certificate, as in etcd"),
    Flag("client-crl-file"),
    Flag("client-cert-allowed-hostname"),
    Flag("auto-tls", default="false", switch=True),
    Flag("peer-cert-file"),
    Flag("peer-key-file"),
    Flag("peer-client-cert-file"),
    Flag("peer-client-key-file"),
    Flag("peer-client-cert-auth", default="false", switch=True),
    Flag("peer-trusted-ca-file"),
    Flag("peer-crl-file"),
    Flag("peer-cert-allowed-cn"),
    Flag("peer-cert-allowed-hostname"),
    Flag("peer-auto-tls", default="false", switch=True),
    Flag("self-signed-cert-validity", default="1"),
    Flag("cipher-suites", why="Go's names; those of TLS 1.3 cannot be chosen"),
    Flag("tls-min-version", default="TLS1.2"),
    Flag("tls-max-version"),
    *_ignored("a member never calls its own client port", "client-cert-file", "client-key-file"),
    Flag(
        "peer-skip-client-san-verification",
        _I,
        switch=True,
        twins=_twin("peer-skip-client-san-verification"),
        why="the address a peer dials from is not compared with its certificate",
    ),
    Flag("cors", default="*"),
    Flag("host-whitelist", default="*"),
    Flag("auth-token", default="simple"),
    Flag("auth-token-ttl", default="300"),
    Flag("bcrypt-cost", default=str(COST_DEFAULT)),
]

MONITORING = [
    Flag("listen-metrics-urls"),
    Flag("log-level", default="info", why="panic and fatal are error"),
    *_ignored(
        "lines are `key=value` on standard error",
        "logger",
        "log-format",
        "log-outputs",
        "log-rotation-config-json",
    ),
    _refused_switch("enable-log-rotation", "lines go to standard error only"),
    *_ignored("there is one level of detail", "metrics"),
    _refused_switch("enable-pprof", "Go's profiler is not here"),
    Flag(
        "enable-distributed-tracing",
        Fate.REFUSED,
        switch=True,
        twins=_twin("enable-distributed-tracing"),
        why=_TRACING,
    ),
    *(
        Flag(name, _I, twins=_twin(name), why=_TRACING)
        for name in (
            "distributed-tracing-address",
            "distributed-tracing-service-name",
            "distributed-tracing-instance-id",
            "distributed-tracing-sampling-rate",
        )
    ),
    *(
        Flag(name, _I, twins=_twin(name), why="slow requests are not logged")
        for name in ("warning-apply-duration", "warning-unary-request-duration")
    ),
]

FEATURES = [
    Flag(
        "watch-progress-notify-interval",
        default="10m",
        duration=True,
        twins=_twin("watch-progress-notify-interval"),
    ),
    Flag(
        "corrupt-check-time",
        default="0s",
        duration=True,
        twins=_twin("corrupt-check-time"),
        why="most members are right, the others get the alarm CORRUPT",
    ),
    Flag(
        "compact-hash-check-time",
        default="1m",
        duration=True,
        twins=_twin("compact-hash-check-time"),
    ),
    Flag("experimental-initial-corrupt-check", default="false", switch=True),
    Flag("experimental-compact-hash-check-enabled", default="false", switch=True),
    *(
        Flag(name, _I, twins=_twin(name), why=why)
        for name, why in (
            ("compaction-batch-limit", "a step of a compaction is a few milliseconds"),
            ("compaction-sleep-interval", "a compaction pauses after each step"),
            ("bootstrap-defrag-threshold-megabytes", "use etcdctl defrag: nothing stands still"),
            ("downgrade-check-time", "there is no downgrade"),
            ("snapshot-catchup-entries", "half of --snapshot-count"),
        )
    ),
    *_ignored(
        "keep-alives go through the log, so every member knows them",
        "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist",
        switch=True,
    ),
    *_ignored(_BOLT, "experimental-txn-mode-write-with-shared-buffer", switch=True),
    *_ignored(
        "a member serves on while it defragments",
        "experimental-stop-grpc-service-on-defrag",
        switch=True,
    ),
    *_ignored("half of --snapshot-count", "experimental-snapshot-catch-up-entries"),
    *_ignored("everything is synced all the same", "unsafe-no-fsync", switch=True),
]

SECTIONS = {
    "Member": MEMBER,
    "Clustering": CLUSTERING,
    "Security": SECURITY,
    "Monitoring and logs": MONITORING,
    "Features": FEATURES,
}
FLAGS: dict[str, Flag] = {flag.name: flag for part in SECTIONS.values() for flag in part}
# Only in the configuration file does etcd have this one.
CLIENT_CN = Flag("client-cert-allowed-cn")

GATES = frozenset(
    {
        "StopGRPCServiceOnDefrag",
        "TxnModeWriteWithSharedBuffer",
        "InitialCorruptCheck",
        "CompactHashCheck",
        "LeaseCheckpoint",
        "LeaseCheckpointPersist",
        "SetMemberLocalAddr",
        "PriorityRequest",
        "FastLeaseKeepAlive",
    }
)


def find(name: str) -> Flag | None:
    """The flag of that name, also an older one."""
    found = FLAGS.get(name)
    return found if found is not None else _BY_TWIN.get(name)


_BY_TWIN = {twin: flag for flag in FLAGS.values() for twin in flag.twins}


def markdown() -> str:
    """The table for docs/store.md: what is not supported, and what differs."""
    lines = ["| Flag | Here | Why, or how |", "|---|---|---|"]
    for part in SECTIONS.values():
        rows: dict[tuple[Fate, str], list[str]] = {}
        for flag in part:
            key = (flag.fate, flag.why)
            rows.setdefault(key, []).append(f"`--{flag.name}`")
        for (fate, why), names in rows.items():
            lines.append(f"| {', '.join(names)} | {fate} | {why} |")
    return "\n".join(lines) + "\n"


def usage() -> str:
    """What `--help` prints: every flag with its default and its fate."""
    lines = ["Usage:", "", "  kubraft-etcd [flags]", "    Start a member of the store.", ""]
    for title, part in SECTIONS.items():
        lines += [f"{title}:"]
        for flag in part:
            told = [] if flag.fate is Fate.SUPPORTED else [str(flag.fate)]
            told += [flag.why] if flag.why else []
            lines += [f"  --{flag.name} '{flag.default}'"]
            lines += [f"    {': '.join(told)}."] if told else []
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201
