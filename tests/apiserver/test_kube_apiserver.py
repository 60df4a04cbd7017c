"""The stand-in for kube-apiserver: whose command line it reads, and what it refuses.

That it serves when started as envtest starts it is shown by tests/clients.
"""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest

from apiserver.kube_apiserver import FlagError, known, translated, usage
from apiserver.options import parse
from tests.clients.control_plane import envtest_arguments

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_arguments_of_envtest_are_carried_out(tmp_path: Path) -> None:
    (tmp_path / "apiserver.crt").write_text("made by envtest")
    (tmp_path / "apiserver.key").write_text("made by envtest")
    options = parse(translated(envtest_arguments(tmp_path, "http://127.0.0.1:2379", 1234), NOW))
    assert options.secure_port == 1234
    assert options.tls_cert_file == tmp_path / "apiserver.crt"
    assert options.client_ca_file == tmp_path / "client-cert-auth-ca.crt"
    assert options.disable_admission_plugins == ("ServiceAccount",)
    assert options.service_account_key_files == (tmp_path / "sa-signer.crt",)
    assert (options.grpc_port, options.grpc_mtls_port) == (0, 0)


def test_certificate_is_made_where_none_is_given(tmp_path: Path) -> None:
    words = [f"--cert-dir={tmp_path / 'new'}", "--etcd-servers", "http://x:1", "--v", "2"]
    own = parse(translated([*words, "--bind-address=127.0.0.9", "--allow-privileged"], NOW))
    assert own.tls_cert_file == tmp_path / "new" / "apiserver.crt"
    context = ssl.create_default_context(cafile=own.tls_cert_file)
    context.load_cert_chain(own.tls_cert_file, own.tls_private_key_file)
    assert own.tls_private_key_file.stat().st_mode & 0o077 == 0
    before = own.tls_cert_file.read_bytes()
    translated(words, NOW)
    assert own.tls_cert_file.read_bytes() == before


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        pytest.param("--no-such=1", "unknown flag: --no-such", id="unknown"),
        pytest.param("--grpc-port=1", "unknown flag: --grpc-port", id="ours-only"),
        pytest.param("serve", 'unknown command "serve" for "kube-apiserver"', id="word"),
        pytest.param("--cert-dir", "flag needs an argument: --cert-dir", id="no-value"),
        pytest.param(
            "--authorization-mode=Node,ABAC",
            "--authorization-mode: ABAC is not offered here",
            id="authorizer",
        ),
        pytest.param(
            "--insecure-port=8080",
            "--insecure-port=8080 is not offered here; it must be 0",
            id="plain-http",
        ),
        pytest.param(
            "--profiling=true",
            "--profiling=true is not offered here; it must be false",
            id="would-be-missed",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(
    argument: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(FlagError) as refused:
        translated([f"--cert-dir={tmp_path}", argument], NOW)
    assert str(refused.value) == message


def test_help_names_every_flag_but_the_one_that_must_not_be_set() -> None:
    shown = {line.split()[0] for line in usage().splitlines() if line.startswith("      --")}
    assert shown == {f"--{name}" for name in known()} - {"--insecure-port"}


def test_limits_and_groups_are_carried_out(tmp_path: Path) -> None:
    words = ["--max-requests-inflight=30", "--max-mutating-requests-inflight", "12"]
    words += ["--runtime-config=api/beta=false", "--runtime-config=batch/v1=false"]
    words += ["--anonymous-auth=false", "--enable-bootstrap-token-auth"]
    options = parse(
        translated([f"--cert-dir={tmp_path}", "--etcd-servers=http://x:1", *words], NOW)
    )
    assert options.requests_in_flight_max == 42
    assert not options.authentication.anonymous
    assert not options.runtime_config.offers("batch", "v1", "jobs")
    assert not options.runtime_config.offers("any", "v1beta2", "things")
    assert options.runtime_config.offers("apps", "v1", "deployments")
