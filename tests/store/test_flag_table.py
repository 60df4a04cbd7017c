"""The table of flags is complete, and docs/store.md shows it as it is."""

from pathlib import Path

from store.flag_table import FLAGS, Fate, find, markdown, usage

ROOT = Path(__file__).parents[2]

# Every flag that `etcd --help` of 3.5.1 lists. Source: etcd 3.5, configuration flags.
ETCD_35 = """
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention
auto-tls backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost
cert-file cipher-suites client-cert-allowed-hostname client-cert-auth client-crl-file cors data-dir
discovery discovery-fallback discovery-proxy discovery-srv discovery-srv-name election-timeout
enable-log-rotation enable-pprof enable-v2 experimental-bootstrap-defrag-threshold-megabytes
experimental-compaction-batch-limit experimental-corrupt-check-time
experimental-distributed-tracing-address experimental-distributed-tracing-instance-id
experimental-distributed-tracing-service-name experimental-enable-distributed-tracing
experimental-enable-lease-checkpoint experimental-enable-v2v3 experimental-initial-corrupt-check
experimental-peer-skip-client-san-verification experimental-txn-mode-write-with-shared-buffer
experimental-warning-apply-duration experimental-watch-progress-notify-interval force-new-cluster
grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval
host-whitelist initial-advertise-peer-urls initial-cluster initial-cluster-state
initial-cluster-token initial-election-tick-advance key-file listen-client-urls listen-metrics-urls
listen-peer-urls log-level log-outputs log-rotation-config-json logger max-request-bytes
max-snapshots max-txn-ops max-wals metrics name peer-auto-tls peer-cert-allowed-cn
peer-cert-allowed-hostname peer-cert-file peer-client-cert-auth peer-crl-file peer-key-file
peer-trusted-ca-file pre-vote proxy proxy-dial-timeout proxy-failure-wait proxy-read-timeout
proxy-refresh-interval proxy-write-timeout quota-backend-bytes self-signed-cert-validity
snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check trusted-ca-file
unsafe-no-fsync v2-deprecation wal-dir
""".split()  # noqa: SIM905  # a list of words reads better so


def test_every_flag_of_etcd_is_decided_on() -> None:
    assert [name for name in ETCD_35 if find(name) is None] == []


def test_what_is_not_supported_says_why() -> None:
    assert [f.name for f in FLAGS.values() if f.fate is not Fate.SUPPORTED and not f.why] == []


def test_the_help_lists_every_flag() -> None:
    text = usage()
    assert [name for name in FLAGS if f"  --{name} '" not in text] == []


def test_the_operators_page_shows_the_table() -> None:
    """To mend it: `python -m store.flag_table`."""
    assert markdown() in (ROOT / "docs" / "store.md").read_text()
