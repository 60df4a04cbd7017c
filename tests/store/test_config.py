"""Flags, variables and the configuration file: etcd's names, forms and refusals in one line."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from store.config import Comparison, MemberConfig, check_bootstrap, parse
from store.flag_error import FlagError, UsageError
from store.flags import duration_s

CLUSTER = "a=http://127.0.0.1:1,b=http://127.0.0.1:2"
MEMBER = ["--name", "a", "--initial-advertise-peer-urls", "http://127.0.0.1:1"]
CLIENT = ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://x:1"]
PAIR = ["--cert-file=c", "--key-file=k"]


def refusal(arguments: list[str], environment: Mapping[str, str] = {}) -> str:
    with pytest.raises(FlagError) as refused:
        check_bootstrap(parse(arguments, environment))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_flags_are_read_in_all_their_forms() -> None:
    config = parse(
        [*MEMBER, "--initial-cluster=" + CLUSTER, "-data-dir", "/d", "--election-timeout=2000"],
        {"ETCD_HEARTBEAT_INTERVAL": "200", "ETCD_SNAPSHOT_COUNT": "", "OTHER": "x"},
    )
    assert (config.name, str(config.data_dir)) == ("a", "/d")
    assert (config.heartbeat_ms, config.election_ms) == (200, 2000)
    assert [member.name for member in config.initial_cluster] == ["a", "b"]
    assert config.client_tls is None


def test_without_flags_a_member_is_where_etcd_would_be() -> None:
    config = parse([], {})
    check_bootstrap(config)
    assert (config.name, str(config.data_dir)) == ("default", "default.etcd")
    assert config.listen_client_urls == config.advertise_client_urls == ("http://localhost:2379",)
    assert config.listen_peer_urls == config.advertise_peer_urls == ("http://localhost:2380",)
    assert [(m.name, m.peer_urls) for m in config.initial_cluster] == [
        ("default", ("http://localhost:2380",))
    ]
    assert config.strict_reconfiguration


def test_ids_are_the_same_for_every_member_and_differ_between_clusters() -> None:
    one = parse([*MEMBER, "--initial-cluster", CLUSTER], {})
    swapped = ",".join(reversed(CLUSTER.split(",")))
    other = parse(
        [
            "--name=b",
            "--initial-advertise-peer-urls=http://127.0.0.1:2",
            "--initial-cluster",
            swapped,
        ],
        {},
    )
    assert one.cluster_id == other.cluster_id
    assert one.member_id != other.member_id
    token = parse([*MEMBER, "--initial-cluster", CLUSTER, "--initial-cluster-token=t"], {})
    assert token.cluster_id != one.cluster_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--nonsense=1"], "not defined: -nonsense", id="unknown"),
        pytest.param(["stray"], "'stray' is not a valid flag", id="stray"),
        pytest.param(["--name"], "flag needs an argument: -name", id="no value"),
        pytest.param(["--client-cert-auth=maybe"], "--client-cert-auth", id="not a boolean"),
        pytest.param(["--snapshot-count=many"], "--snapshot-count: 'many'", id="not a number"),
        pytest.param(["--max-txn-ops=0"], "--max-txn-ops: 0 is below 1", id="too small"),
        pytest.param(["--listen-peer-urls=1.2.3.4:1"], "--listen-peer-urls", id="no scheme"),
        pytest.param(["--listen-peer-urls=http://x"], '"host:port": http://x', id="no port"),
        pytest.param(["--listen-peer-urls=http://1.2.3.4:1/p"], "a path", id="path"),
        pytest.param(["--listen-peer-urls=ftp://x:1"], "scheme must be", id="other scheme"),
        pytest.param(["--listen-peer-urls=http://x.test:1"], "expected IP in URL", id="bind name"),
        pytest.param(["--listen-peer-urls=unix:///s"], "members meet on TCP", id="peers on a file"),
        pytest.param(["--listen-client-urls=unix://"], "scheme must be", id="no path"),
        pytest.param(
            ["--listen-client-urls=unixs:///s", "--advertise-client-urls=http://x:1"],
            "must be provided for client url unixs:///s with HTTPS scheme",
            id="no certificate for a socket",
        ),
        pytest.param(["--listen-peer-urls=,"], "no valid URLs", id="no URL"),
        pytest.param(
            ["--listen-client-urls=http://127.0.0.1:1"],
            "--advertise-client-urls is required",
            id="nothing advertised",
        ),
        pytest.param(
            ["--initial-cluster=other=http://x:1"],
            'find local name "default" in the initial cluster',
            id="not in it",
        ),
        pytest.param(
            ["--initial-cluster=default=http://x:1"],
            "--initial-cluster has default=http://x:1 but missing from",
            id="other URL",
        ),
        pytest.param(
            ["--initial-cluster=default=http://x:1,b=http://x:1"], "duplicate url", id="duplicate"
        ),
        pytest.param(["--initial-cluster=x"], "not of the form name=url", id="no pair"),
        pytest.param(["--initial-cluster-state=odd"], "neither new nor existing", id="state"),
        pytest.param(CLIENT, "TLS key/cert (--cert-file, --key-file)", id="no certificate"),
        pytest.param(
            [*CLIENT, *PAIR, "--client-cert-auth"], "--trusted-ca-file", id="no authority"
        ),
        pytest.param(["--cipher-suites=ROT13"], 'TLS cipher suite "ROT13"', id="cipher"),
        pytest.param(["--tls-min-version=TLS1.0"], 'TLS version: "TLS1.0"', id="old TLS"),
        pytest.param(
            ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "is greater than", id="order"
        ),
        pytest.param(["--election-timeout=200"], "at least as 5 times", id="timing"),
        pytest.param(["--election-timeout=60000"], "is too long", id="long election"),
        pytest.param(["--auto-compaction-mode=x"], "auto-compaction-mode", id="mode"),
        pytest.param(["--auto-compaction-retention=x"], "not a duration", id="retention"),
        pytest.param(["--log-level=loud"], "--log-level: 'loud'", id="log level"),
        pytest.param(["--discovery=http://x"], "--discovery: not supported", id="refused"),
        pytest.param(["--enable-pprof"], "--enable-pprof: not supported", id="refused switch"),
        pytest.param(["--compact-hash-check-time=0s"], "must be >0", id="no time between"),
        pytest.param(["--corrupt-check-time=-1s"], "--corrupt-check-time", id="negative time"),
        pytest.param(["--feature-gates=X=true"], "unrecognized feature gate: X", id="gate"),
    ],
)
def test_a_wrong_flag_is_named(arguments: list[str], message: str) -> None:
    assert message in refusal(arguments)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"ETCD_NONSENSE": "1"}, "variable ETCD_NONSENSE", id="unknown"),
        pytest.param({"ETCD_NAME": "b"}, "variable ETCD_NAME is shadowed by", id="conflict"),
        pytest.param({"ETCD_MAX_TXN_OPS": "x"}, "--max-txn-ops: 'x'", id="wrong"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], message: str) -> None:
    assert message in refusal(["--name=default"], environment)


def test_variables_that_kubernetes_or_an_image_sets_are_left_alone() -> None:
    config = parse(
        [],
        {
            "ETCD_VERSION": "3.5",
            "ETCD_UNSUPPORTED_ARCH": "arm64",
            "ETCD_SERVICE_HOST": "10.0.0.1",
            "ETCD_PORT_2379_TCP": "tcp://10.0.0.1:2379",
            "ETCD_NAME": "b",
        },
    )
    assert config.name == "b"


def test_the_log_lies_in_the_data_directory_unless_it_is_said() -> None:
    assert parse(["--data-dir=/d"], {}).wal_dir == Path("/d/wal")
    assert parse(["--data-dir=/d", "--wal-dir=/w"], {}).wal_dir == Path("/w")


def test_a_flag_that_cannot_be_read_is_told_from_one_that_cannot_be_had() -> None:
    """etcd ends with status 2 for the one and 1 for the other."""
    for arguments in (["--x"], ["--name"], ["--max-txn-ops=x"]):
        with pytest.raises(UsageError):
            parse(arguments, {})
    for arguments in (["x"], ["--discovery=x"], ["--election-timeout=200"]):
        with pytest.raises(FlagError) as refused:
            parse(arguments, {})
        assert not isinstance(refused.value, UsageError)


def test_what_harnesses_pass_is_taken_and_what_does_nothing_is_told() -> None:
    config = parse(
        [
            "--unsafe-no-fsync=true",
            "--log-level=warn",
            "--logger=zap",
            "--experimental-initial-corrupt-check=true",
            "--experimental-watch-progress-notify-interval=5s",
            "--feature-gates=InitialCorruptCheck=true",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--enable-v2=false",
            "--proxy=off",
            "--log-outputs=stderr",
        ],
        {},
    )
    assert config.log_level == "warning"
    assert config.watch_progress_interval_s == 5.0
    assert config.without_effect == (
        "log-outputs",
        "logger",
        "unsafe-no-fsync",
    )


def test_what_kubeadm_starts_etcd_with_is_taken() -> None:
    """Source: kubeadm, the static Pod of a stacked etcd."""
    config = parse(
        [
            "--advertise-client-urls=https://10.0.0.1:2379",
            "--cert-file=/etc/kubernetes/pki/etcd/server.crt",
            "--client-cert-auth=true",
            "--data-dir=/var/lib/etcd",
            "--experimental-initial-corrupt-check=true",
            "--experimental-watch-progress-notify-interval=5s",
            "--initial-advertise-peer-urls=https://10.0.0.1:2380",
            "--initial-cluster=n=https://10.0.0.1:2380",
            "--key-file=/etc/kubernetes/pki/etcd/server.key",
            "--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--listen-peer-urls=https://10.0.0.1:2380",
            "--name=n",
            "--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
            "--peer-client-cert-auth=true",
            "--peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
            "--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
            "--snapshot-count=10000",
            "--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        ],
        {},
    )
    check_bootstrap(config)
    assert config.without_effect == ()
    assert config.comparison.at_start


def test_lists_of_urls_are_taken_whole() -> None:
    config = parse(
        [
            "--listen-client-urls=http://127.0.0.1:1,http://[::1]:1, http://127.0.0.1:1",
            "--advertise-client-urls=http://a:1,http://b:1",
            "--listen-peer-urls=http://127.0.0.1:3,http://127.0.0.1:4",
            "--initial-advertise-peer-urls=http://127.0.0.1:4,http://127.0.0.1:3",
        ],
        {},
    )
    check_bootstrap(config)
    assert config.listen_client_urls == ("http://127.0.0.1:1", "http://[::1]:1")
    assert config.advertise_client_urls == ("http://a:1", "http://b:1")
    assert len(config.listen_peer_urls) == len(config.initial_cluster[0].peer_urls) == 2


def test_tls_of_both_ports() -> None:
    config = parse(
        [
            *CLIENT,
            *PAIR,
            "--trusted-ca-file=ca",
            "--client-crl-file=crl",
            "--client-cert-allowed-hostname=a,b",
            "--listen-peer-urls=https://127.0.0.1:2",
            "--peer-auto-tls",
            "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
            "--tls-max-version=TLS1.3",
        ],
        {},
    )
    client, peer = config.client_tls, config.peer_tls
    assert client is not None
    assert peer is not None
    assert client.files == (Path("c"), Path("k"), Path("ca"), Path("crl"))
    assert client.allowed_hosts == ("a", "b")
    assert client.rules.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert (client.rules.version_min, client.rules.version_max) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_3,
    )
    assert peer.self_signed_hosts == ("127.0.0.1",)


def test_settings_for_tls_that_plain_text_ignores_are_told() -> None:
    config = parse(
        [
            "--listen-client-urls=http://127.0.0.1:1,https://127.0.0.1:2",
            "--advertise-client-urls=http://a:1",
            *PAIR,
            "--listen-metrics-urls=http://127.0.0.1:3",
            "--listen-peer-urls=http://127.0.0.1:4",
            "--peer-client-cert-auth",
        ],
        {},
    )
    assert config.plain_text == (
        (
            "http://127.0.0.1:1",
            (
                "scheme is HTTP while key and cert files are present; ignoring key and cert files "
                "(--cert-file, --key-file)"
            ),
        ),
        (
            "http://127.0.0.1:4",
            (
                "scheme is HTTP while --peer-client-cert-auth is enabled; "
                "ignoring client cert auth for this URL"
            ),
        ),
    )
    assert parse([], {}).plain_text == ()


@pytest.mark.parametrize(
    ("arguments", "comparison"),
    [
        pytest.param([], Comparison(), id="off"),
        pytest.param(
            ["--experimental-initial-corrupt-check", "--experimental-corrupt-check-time=1h"],
            Comparison(at_start=True, interval_s=3600.0),
            id="as in 3.5",
        ),
        pytest.param(
            ["--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"],
            Comparison(at_start=True, after_compactions_s=60.0),
            id="as in 3.6",
        ),
        pytest.param(
            ["--experimental-compact-hash-check-enabled", "--compact-hash-check-time=5s"],
            Comparison(after_compactions_s=5.0),
            id="after compactions",
        ),
        pytest.param(["--feature-gates=CompactHashCheck=false"], Comparison(), id="gate off"),
    ],
)
def test_when_members_are_compared(arguments: list[str], comparison: Comparison) -> None:
    assert parse(arguments, {}).comparison == comparison


@pytest.mark.parametrize(
    ("arguments", "quota"),
    [
        pytest.param([], 2 << 30, id="default"),
        pytest.param(["--quota-backend-bytes=0"], 2 << 30, id="zero is the default"),
        pytest.param(["--quota-backend-bytes=4096"], 4096, id="so many"),
        pytest.param(["--quota-backend-bytes=-1"], -1, id="none"),
    ],
)
def test_the_quota_is_etcds(arguments: list[str], quota: int) -> None:
    assert parse(arguments, {}).quota_bytes == quota


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300.0), ("1h30m", 5400.0), ("500ms", 0.5), ("0", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s("f", text) == seconds


def test_auto_compaction_counts_hours_or_revisions() -> None:
    hours = parse(["--auto-compaction-retention=2"], {})
    assert (hours.auto_compaction_mode, hours.auto_compaction_retention) == ("periodic", 7200.0)
    revisions = parse(["--auto-compaction-mode=revision", "--auto-compaction-retention=2"], {})
    assert revisions.auto_compaction_retention == 2.0


FILE = """
name: a
data-dir: /d
wal-dir:
snapshot-count: 500
listen-client-urls: https://127.0.0.1:1,https://127.0.0.1:2
advertise-client-urls: https://127.0.0.1:1
initial-cluster: a=http://localhost:2380
strict-reconfig-check: false
auto-compaction-retention: "1"
watch-progress-notify-interval: 5000000000
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]
log-outputs: [stderr]
client-transport-security:
  cert-file: c
  key-file: k
  trusted-ca-file: ca
  client-cert-auth: true
  allowed-cn: [root]
  auto-tls: false
peer-transport-security:
  cert-file:
"""


def from_file(path: Path, text: str, *arguments: str) -> MemberConfig:
    (path / "etcd.yml").write_text(text)
    return parse([*arguments, f"--config-file={path / 'etcd.yml'}"], {})


def test_the_configuration_file_is_read_and_nothing_else_counts(tmp_path: Path) -> None:
    config = from_file(tmp_path, FILE, "--name=other", "--max-txn-ops=7")
    assert (config.name, config.data_dir, config.snapshot_count) == ("a", Path("/d"), 500)
    assert config.listen_client_urls == ("https://127.0.0.1:1", "https://127.0.0.1:2")
    assert config.txn_ops_max == 128
    assert config.watch_progress_interval_s == 5.0
    assert config.auto_compaction_retention == 3600.0
    assert not config.strict_reconfiguration
    assert config.client_tls is not None
    assert config.client_tls.allowed_names == ("root",)
    assert len(config.client_tls.rules.ciphers) == 2
    by_variable = parse(
        ["--name=x"], {"ETCD_CONFIG_FILE": str(tmp_path / "etcd.yml"), "ETCD_WHAT": "x"}
    )
    assert by_variable.name == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("nonsense: 1", "unknown key 'nonsense'", id="unknown key"),
        pytest.param(
            "peer-transport-security: {x: 1}", "unknown key 'x' in peer-", id="unknown in section"
        ),
        pytest.param("cert-file: c", "unknown key 'cert-file'", id="outside of its section"),
        pytest.param("client-transport-security: c", "invalid client-transport", id="no section"),
        pytest.param("- a", "not a mapping", id="list"),
        pytest.param("a: [", "not YAML", id="no YAML"),
        pytest.param("name: {a: b}", "neither a text", id="mapping for a text"),
        pytest.param("enable-pprof: true", "--enable-pprof: not supported", id="refused"),
        pytest.param("config-file: x", "unknown key 'config-file'", id="itself"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FlagError) as refused:
        from_file(tmp_path, text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    assert refusal([f"--config-file={tmp_path / 'x'}"]) == (
        f"--config-file {tmp_path / 'x'}: No such file or directory"
    )
