"""The flags of `python -m apiserver`; names are kube-apiserver's where it has them."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from apiserver.aggregation import options as aggregation_options
from apiserver.authentication_options import AuthenticationOptions, add_flags, boolean, read_flags
from apiserver.runtime_config import RuntimeConfig, parse_runtime_config

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Options:
    """What one API server is told at its start."""

    identity: str
    bind_address: str
    secure_port: int
    grpc_port: int
    grpc_mtls_port: int
    etcd_servers: tuple[str, ...]
    etcd_cafile: Path | None
    etcd_certfile: Path | None
    etcd_keyfile: Path | None
    tls_cert_file: Path
    tls_private_key_file: Path
    client_ca_file: Path
    token_auth_file: Path | None
    service_account_key_files: tuple[Path, ...]
    service_account_signing_key_file: Path | None
    service_account_issuers: tuple[str, ...]  # the first one issues, all of them are accepted
    service_account_jwks_uri: str
    api_audiences: tuple[str, ...]
    authentication: AuthenticationOptions
    aggregation: aggregation_options.AggregationOptions
    encryption_provider_config: Path | None
    encryption_provider_config_automatic_reload: bool
    audit_policy_file: Path | None
    audit_log_path: str
    audit_log_age_days_max: int
    audit_log_backups_max: int
    audit_log_mebibytes_max: int
    kubelet_certificate_authority: Path | None
    kubelet_client_certificate: Path | None
    kubelet_client_key: Path | None
    requests_in_flight_max: int
    runtime_config: RuntimeConfig
    service_cluster_ip_range: str
    advertise_address: str
    default_toleration_s: int
    log_level: str
    enable_admission_plugins: tuple[str, ...]
    disable_admission_plugins: tuple[str, ...]


def make_parser() -> argparse.ArgumentParser:
    """All flags."""
    parser = argparse.ArgumentParser(
        prog="apiserver", description="The Kubraft API server.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--identity", default="apiserver-0", help="name in logs")
    add("--bind-address", default="127.0.0.1")
    add("--secure-port", type=int, default=6443, help="HTTPS: probes, version, metrics")
    add("--grpc-port", type=int, default=6444, help="gRPC over TLS, bearer tokens; 0: none")
    add(
        "--grpc-mtls-port",
        type=int,
        default=6445,
        help="gRPC over TLS, client certificates; 0: none",
    )
    add("--etcd-servers", required=True, help="URLs of the store's members, comma-separated")
    for name in ("--etcd-cafile", "--etcd-certfile", "--etcd-keyfile"):
        add(name, type=Path, help="mutual TLS with the store, PEM")
    for name in ("--tls-cert-file", "--tls-private-key-file", "--client-ca-file"):
        add(name, type=Path, required=True, help="TLS of this server, PEM")
    add("--token-auth-file", type=Path, help="static tokens: token,user,uid,groups")
    add("--service-account-key-file", type=Path, action="append", default=[])
    add("--service-account-signing-key-file", type=Path)
    add("--service-account-issuer", action="append", default=[], help=f"default: {ISSUER}")
    add("--service-account-jwks-uri", default="", help="where others find the public keys")
    add("--api-audiences", default="", help="comma-separated; the issuer where empty")
    add_flags(parser)
    aggregation_options.add_flags(parser)
    add("--encryption-provider-config", type=Path, help="EncryptionConfiguration, YAML")
    reload = "take over a changed --encryption-provider-config without a restart"
    add("--encryption-provider-config-automatic-reload", type=boolean, default=False, nargs="?",
        const=True, help=reload)  # fmt: skip
    add("--audit-policy-file", type=Path, help="audit.k8s.io/v1 Policy: what is logged how")
    add("--audit-log-path", default="", help="JSON lines of the audit log; -: standard output")
    for name, most, text in (
        ("age", 0, "days that old files are kept"),
        ("backup", 0, "old files that are kept"),
        ("size", 100, "MiB of a file"),
    ):
        add(f"--audit-log-max{name}", type=_count, default=most, help=f"{text}; 0: no bound")
    for name in ("certificate-authority", "client-certificate", "client-key"):
        add(f"--kubelet-{name}", type=Path, help="TLS with node agents, PEM")
    for name, most in (("max-requests", 400), ("max-mutating-requests", 200)):
        text = "both together are the seats that priority levels share"
        add(f"--{name}-inflight", type=_count, default=most, help=text)
    add("--runtime-config", default="", help="group/version=false, api/beta=false: not offered")
    add("--advertise-address", default="", help="where clients in the cluster find this server")
    add("--service-cluster-ip-range", default="10.96.0.0/16")
    add("--default-toleration-seconds", type=int, default=300, help="for lost nodes, of Pods")
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    for name in ("--enable-admission-plugins", "--disable-admission-plugins"):
        add(name, default="", help="comma-separated names")
    return parser


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; ends the process with a usage message where it is wrong."""
    parser = make_parser()
    found = parser.parse_args(arguments)
    try:
        authentication = read_flags(found)
        aggregation = aggregation_options.read_flags(found)
        offered = parse_runtime_config(found.runtime_config)
    except ValueError as error:
        parser.error(str(error))
    issuers = tuple(found.service_account_issuer) or (ISSUER,)
    audiences = _split(found.api_audiences) or issuers
    return Options(
        identity=found.identity,
        bind_address=found.bind_address,
        secure_port=found.secure_port,
        grpc_port=found.grpc_port,
        grpc_mtls_port=found.grpc_mtls_port,
        etcd_servers=_split(found.etcd_servers),
        etcd_cafile=found.etcd_cafile,
        etcd_certfile=found.etcd_certfile,
        etcd_keyfile=found.etcd_keyfile,
        tls_cert_file=found.tls_cert_file,
        tls_private_key_file=found.tls_private_key_file,
        client_ca_file=found.client_ca_file,
        token_auth_file=found.token_auth_file,
        service_account_key_files=tuple(found.service_account_key_file),
        service_account_signing_key_file=found.service_account_signing_key_file,
        service_account_issuers=issuers,
        service_account_jwks_uri=found.service_account_jwks_uri,
        api_audiences=audiences,
        authentication=authentication,
        aggregation=aggregation,
        encryption_provider_config=found.encryption_provider_config,
        encryption_provider_config_automatic_reload=found.encryption_provider_config_automatic_reload,
        audit_policy_file=found.audit_policy_file,
        audit_log_path=found.audit_log_path,
        audit_log_age_days_max=found.audit_log_maxage,
        audit_log_backups_max=found.audit_log_maxbackup,
        audit_log_mebibytes_max=found.audit_log_maxsize,
        kubelet_certificate_authority=found.kubelet_certificate_authority,
        kubelet_client_certificate=found.kubelet_client_certificate,
        kubelet_client_key=found.kubelet_client_key,
        requests_in_flight_max=max(
            1, found.max_requests_inflight + found.max_mutating_requests_inflight
        ),
        runtime_config=offered,
        service_cluster_ip_range=found.service_cluster_ip_range,
        advertise_address=found.advertise_address or _reachable(found.bind_address),
        default_toleration_s=found.default_toleration_seconds,
        log_level=found.log_level,
        enable_admission_plugins=_split(found.enable_admission_plugins),
        disable_admission_plugins=_split(found.disable_admission_plugins),
    )


def check_files(options: Options) -> None:
    """Raises OSError, naming flag and file, for the first file that cannot be read."""
    for field in fields(options):
        value = getattr(options, field.name)
        for path in value if isinstance(value, tuple) else (value,):
            if not isinstance(path, Path):
                continue
            try:
                with path.open("rb"):
                    pass
            except OSError as error:
                flag = field.name.removesuffix("s").replace("_", "-")
                raise OSError(f"--{flag} {path}: {error.strerror}") from error


def _reachable(address: str) -> str:
    """The address itself; where that is all of the machine's, the one that packets leave by."""
    if address not in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing is bound here
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        found: str = probe.getsockname()[0]
        return found


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return int(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
