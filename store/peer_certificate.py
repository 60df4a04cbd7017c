"""Who may come in with a certificate that its authority vouches for: by name, and not revoked.

Source: etcd, client/pkg/transport (AllowedCNs, AllowedHostnames, checkCRL); RFC 6125.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID


class NotAdmittedError(Exception):
    """The certificate is good and its bearer still not welcome; the message says why."""


class Admission:
    """What is asked of the certificate at the other end. Pure."""

    def __init__(
        self,
        *,
        names: Sequence[str] = (),
        hosts: Sequence[str] = (),
        revocations: bytes | None = None,
    ) -> None:
        """One of `names` must be its common name, one of `hosts` one that it serves.

        Args:
            names: empty allows all.
            hosts: names or addresses; empty allows all.
            revocations: a revocation list, PEM or DER.

        Raises:
            ValueError: `revocations` is none.
        """
        self._names = frozenset(names)
        self._hosts = tuple(hosts)
        self._revoked = _serial_numbers(revocations) if revocations is not None else frozenset()

    def check(self, der: bytes | None) -> None:
        """Judge the certificate of a connection, None where it has none.

        Raises:
            NotAdmittedError: it is not let in.
        """
        if not (self._names or self._hosts or self._revoked):
            return
        if der is None:
            # Only where none is asked for; then there is nothing to go by.
            if self._names or self._hosts:
                raise NotAdmittedError("client certificate authentication failed: no certificate")
            return
        certificate = x509.load_der_x509_certificate(der)
        if certificate.serial_number in self._revoked:
            raise NotAdmittedError(f"certificate {certificate.serial_number:x} is revoked")
        subject = certificate.subject.rfc4514_string()
        if self._names and not self._names.intersection(_common_names(certificate)):
            raise NotAdmittedError(f"client certificate authentication failed: {subject}")
        if self._hosts and not any(_serves(certificate, host) for host in self._hosts):
            raise NotAdmittedError(f"client certificate authentication failed: {subject}")


def _serial_numbers(data: bytes) -> frozenset[int]:
    pem = data.lstrip().startswith(b"-----BEGIN")
    found = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
    return frozenset(one.serial_number for one in found)


def _common_names(certificate: x509.Certificate) -> list[str]:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(attribute.value) for attribute in found]


def _serves(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        wanted = host.lower().rstrip(".")
        served = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        # A star stands for one whole label, the first.
        return wanted in served or "*." + wanted.partition(".")[2] in served
    return address in names.get_values_for_type(x509.IPAddress)
