"""Keys and certificates of a cluster, made once and renewed before they run out.

Three authorities keep three doors apart. `ca` signs every server certificate and the API's clients;
`store-ca` signs the store's clients and peers only, so that no API client can open the store;
`front-proxy-ca` signs who may tell extension servers on whose behalf it asks.

    name                       signed by  is for
    apiserver                  ca         the apiserver's ports
    store-N-server             ca         a member's client port
    node-N-server              ca         a node agent's port
    metrics-server-server, scheduler-server, controller-manager-server,
    cloud-controller-manager-server, hollow-nodes-server
                               ca         those servers' ports
    admin, scheduler, controller-manager, proxy, metrics-server, dns,
    cloud-controller-manager, node-N, hollow-nodes, apiserver-kubelet-client
                               ca         API clients: CN is the user, O are the groups
    store-N-peer               store-ca   a member's peer port, both sides
    store-client               store-ca   the apiserver and etcdctl as clients of the store
    front-proxy-client         front-proxy-ca  the apiserver as a client of extension servers
    sa.key, sa.pub             -          signing and checking ServiceAccount tokens (ES256)

Keys are EC P-256 in files that only the user may read. Source: Kubernetes, "PKI certificates and
requirements"; RFC 5280.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubraft.home import write_private

AUTHORITY_VALID_FOR: Final = dt.timedelta(days=3650)
CERTIFICATE_VALID_FOR: Final = dt.timedelta(days=365)
RENEW_BEFORE: Final = dt.timedelta(days=30)
_CLOCK_SKEW: Final = dt.timedelta(hours=1)

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_SERVICE_NAMES: Final = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)

_METRICS_NAMES: Final = (
    *_LOCAL_NAMES,
    "metrics-server",
    "metrics-server.kube-system",
    "metrics-server.kube-system.svc",
)


class PkiError(Exception):
    """A key or certificate is unusable; the message is one line and names the file."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One certificate that a cluster needs.

    Attributes:
        name: of its files, `name`.crt and `name`.key.
        common_name: the user, where it is a client's.
        groups: the subject's organizations.
        names: host names and addresses it serves; none where it is only a client's.
        client: whether it may be used as a client's.
    """

    name: str
    common_name: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    client: bool = True


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that is able to sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_pki(
    directory: Path,
    *,
    members: Iterable[str],
    nodes: Iterable[str],
    now: dt.datetime,
    service_address: str = "10.96.0.1",
) -> list[str]:
    """Make what is missing in `directory`, and renew what ends within `RENEW_BEFORE`.

    Args:
        directory: exists and is private.
        members: names of the store members.
        nodes: names of the nodes.
        now: aware; certificates are valid from a little before it.
        service_address: of the Service `kubernetes`, the first one of the service network.

    Returns:
        The names of what was made, none where all was there.

    Raises:
        PkiError: a file cannot be read, or a certificate is not its authority's.
        OSError: a file cannot be written.
    """
    made: list[str] = []
    for authority_name, specs in (
        ("ca", cluster_specs(members, nodes, service_address)),
        ("store-ca", store_specs(members)),
        ("front-proxy-ca", [Spec("front-proxy-client", "front-proxy-client")]),
    ):
        authority = _find_authority(directory, authority_name)
        if authority is None:
            authority = _new_authority(directory, authority_name, now)
            made.append(authority_name)
        for spec in specs:
            if not _is_usable(directory, spec, authority, now):
                _issue(directory, spec, authority, now)
                made.append(spec.name)
    if not (directory / "sa.key").exists() or not (directory / "sa.pub").exists():
        _make_service_account_key(directory)
        made.append("sa")
    return made


def cluster_specs(members: Iterable[str], nodes: Iterable[str], service_address: str) -> list[Spec]:
    """What the cluster's authority signs: all servers, and the API's clients."""
    served = (*_LOCAL_NAMES, *_SERVICE_NAMES, service_address)
    specs = [
        Spec("apiserver", "kube-apiserver", names=served, client=False),
        Spec("admin", "kubernetes-admin", ("system:masters",)),
        Spec("scheduler", "system:kube-scheduler"),
        Spec("controller-manager", "system:kube-controller-manager"),
        Spec("proxy", "system:kube-proxy"),
        Spec("metrics-server", "system:metrics-server"),
        Spec("dns", "system:coredns"),
        Spec("cloud-controller-manager", "system:cloud-controller-manager"),
        Spec("metrics-server-server", "metrics-server", names=_METRICS_NAMES, client=False),
        Spec("scheduler-server", "kube-scheduler", names=_LOCAL_NAMES, client=False),
        Spec(
            "controller-manager-server",
            "kube-controller-manager",
            names=_LOCAL_NAMES,
            client=False,
        ),
        Spec(
            "cloud-controller-manager-server",
            "cloud-controller-manager",
            names=_LOCAL_NAMES,
            client=False,
        ),
        Spec("hollow-nodes", "system:hollow-nodes"),
        Spec("hollow-nodes-server", "system:hollow-nodes", names=_LOCAL_NAMES, client=False),
        Spec("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    ]
    specs += [
        Spec(f"{member}-server", member, names=(*_LOCAL_NAMES, member), client=False)
        for member in members
    ]
    for node in nodes:
        user, group = f"system:node:{node}", ("system:nodes",)
        specs.append(Spec(node, user, group))
        specs.append(Spec(f"{node}-server", user, group, (*_LOCAL_NAMES, node), client=False))
    return specs


def store_specs(members: Iterable[str]) -> list[Spec]:
    """What the store's authority signs: peers, and the store's clients."""
    specs = [Spec("store-client", "kube-apiserver-etcd-client")]
    specs += [Spec(f"{name}-peer", name, names=(*_LOCAL_NAMES, name)) for name in members]
    return specs


def _find_authority(directory: Path, name: str) -> Authority | None:
    certificate_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    if not certificate_file.exists() and not key_file.exists():
        return None
    authority = Authority(_read_certificate(certificate_file), _read_key(key_file))
    if authority.certificate.public_key() != authority.key.public_key():
        raise PkiError(f"{key_file} is not the key of {certificate_file}")
    return authority


def _new_authority(directory: Path, name: str, now: dt.datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kubraft-{name}")])
    usage = _key_usage(signs_certificates=True)
    builder = (
        _builder(subject, subject, key, now, AUTHORITY_VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    _write_key(directory / f"{name}.key", key)
    _write_certificate(directory / f"{name}.crt", certificate)
    return Authority(certificate, key)


def _issue(directory: Path, spec: Spec, authority: Authority, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in spec.groups),
            x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name),
        ]
    )
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] if spec.names else []
    if spec.client:
        purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    issuer = authority.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, issuer.subject, key, now, CERTIFICATE_VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if spec.names:
        alternatives = x509.SubjectAlternativeName([general_name(name) for name in spec.names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    # The key first: a certificate without its key would pass for usable.
    (directory / f"{spec.name}.crt").unlink(missing_ok=True)
    _write_key(directory / f"{spec.name}.key", key)
    _write_certificate(directory / f"{spec.name}.crt", certificate)


def _is_usable(directory: Path, spec: Spec, authority: Authority, now: dt.datetime) -> bool:
    certificate_file = directory / f"{spec.name}.crt"
    if not certificate_file.exists() or not (directory / f"{spec.name}.key").exists():
        return False
    certificate = _read_certificate(certificate_file)
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        issuer = authority.certificate.subject.rfc4514_string()
        raise PkiError(f"{certificate_file} was not signed by {issuer}") from error
    return certificate.not_valid_after_utc - now > RENEW_BEFORE


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    valid_for: dt.timedelta,
) -> x509.CertificateBuilder:
    public_key = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    """What a certificate is good for: an IP address, or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make_service_account_key(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(directory / "sa.key", key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(directory / "sa.pub", public)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, encoded)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise PkiError(f"{path} holds no certificate") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise PkiError(f"{path} holds no private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} holds a private key of another kind than EC")
    return key
