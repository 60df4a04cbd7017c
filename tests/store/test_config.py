"""Flags: etcd's names and forms, and errors that name the flag."""

import pytest

from store.config import parse
from store.flags import FlagError, duration_s

CLUSTER = "a=http://127.0.0.1:1,b=http://127.0.0.1:2"
MEMBER = ["--name", "a", "--initial-advertise-peer-urls", "http://127.0.0.1:1"]


def test_flags_are_read_in_all_their_forms() -> None:
    config = parse(
        [*MEMBER, "--initial-cluster=" + CLUSTER, "-data-dir", "/d", "--election-timeout=2000"],
        {"ETCD_HEARTBEAT_INTERVAL": "200", "ETCD_ELECTION_TIMEOUT": "9000", "OTHER": "x"},
    )
    assert (config.name, str(config.data_dir)) == ("a", "/d")
    assert (config.heartbeat_ms, config.election_ms) == (200, 2000)
    assert [member.name for member in config.initial_cluster] == ["a", "b"]
    assert config.client_tls is None


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
        pytest.param(["--nonsense=1"], "unknown flag --nonsense", id="unknown"),
        pytest.param(["stray"], "unexpected argument 'stray'", id="stray"),
        pytest.param(["--name"], "--name: needs a value", id="no value"),
        pytest.param(["--client-cert-auth=maybe"], "--client-cert-auth", id="not a boolean"),
        pytest.param(["--snapshot-count=many"], "--snapshot-count: 'many'", id="not a number"),
        pytest.param(["--listen-client-urls=1.2.3.4:1"], "--listen-client-urls", id="no scheme"),
        pytest.param(["--listen-peer-urls=http://x"], "--listen-peer-urls", id="no port"),
        pytest.param(["--initial-cluster=other=http://x:1"], "'default' of --name", id="not in it"),
        pytest.param(["--initial-cluster=default=http://x:1"], "has default=", id="other URL"),
        pytest.param(["--initial-cluster-state=odd"], "neither new nor existing", id="state"),
        pytest.param(
            ["--listen-client-urls=https://x:1"], "needs --cert-file", id="no certificate"
        ),
        pytest.param(["--election-timeout=200"], "at least five times", id="timing"),
        pytest.param(["--auto-compaction-mode=x"], "--auto-compaction-mode", id="mode"),
        pytest.param(["--auto-compaction-retention=x"], "not a duration", id="retention"),
    ],
)
def test_a_wrong_flag_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as refused:
        parse(arguments, {})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


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
