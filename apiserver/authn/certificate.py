"""Who a client certificate names: its common name is the user, its organizations are the groups.

Source: Kubernetes authentication, "X.509 client certificates".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from apiserver.bounded_cache import BoundedCache
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError

# A client is one process with one certificate; a few thousand cover any cluster of this size.
CERTIFICATES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class _Subject:
    user: User
    not_before_s: float
    not_after_s: float


def subject_of(pem: bytes) -> _Subject:
    """Read the identity and the time of validity (Unix seconds) of a PEM certificate.

    Raises:
        UnauthorizedError: not a certificate, or one without exactly one common name.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except ValueError as error:
        raise UnauthorizedError("Unauthorized") from error
    if len(names) != 1 or not names[0].value:
        raise UnauthorizedError("Unauthorized")
    user = User(str(names[0].value), groups=tuple(str(group.value) for group in groups))
    return _Subject(
        user,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


class CertificateAuthenticator:
    """Turns verified client certificates into users; parsing is done once a certificate.

    The handshake verified the chain when the connection began, which may be long ago: that the
    certificate is still valid is checked on each request.
    """

    def __init__(self, now: Callable[[], float], *, entries_max: int = CERTIFICATES_MAX) -> None:
        """`now` answers in Unix seconds."""
        self._now = now
        self._subjects: BoundedCache[bytes, _Subject] = BoundedCache(entries_max)

    def authenticate(self, pem: bytes) -> User:
        """The user that the certificate names.

        Raises:
            UnauthorizedError: no readable identity, or not valid at this time.
        """
        subject = self._subjects.find(pem)
        if subject is None:
            subject = subject_of(pem)
            self._subjects.put(pem, subject)
        if not subject.not_before_s <= self._now() <= subject.not_after_s:
            raise UnauthorizedError("Unauthorized")
        return subject.user
