from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from apiserver.authn import Authenticator, Credentials
from apiserver.authn.certificate import CertificateAuthenticator
from apiserver.authn.token_file import TokenFile
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError

START = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(*names: str, groups: tuple[str, ...] = ()) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
        + [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM)


def authenticator(at: datetime) -> CertificateAuthenticator:
    return CertificateAuthenticator(at.timestamp)


NOON = START + timedelta(hours=12)


async def test_the_subject_is_the_user() -> None:
    pem = certificate("system:node:node-0", groups=("system:nodes", "extra"))
    union = Authenticator(
        certificates=authenticator(NOON), tokens=TokenFile([]), service_accounts=None
    )
    user = await union.authenticate(Credentials(client_certificate=pem))
    assert user == User(
        "system:node:node-0", groups=("system:nodes", "extra", "system:authenticated")
    )


@pytest.mark.parametrize(
    ("pem", "at"),
    [
        pytest.param(certificate("ada"), START - timedelta(seconds=1), id="before its time"),
        pytest.param(certificate("ada"), START + timedelta(days=1, seconds=1), id="after its time"),
        pytest.param(certificate(groups=("dev",)), NOON, id="without a name"),
        pytest.param(certificate("ada", "root"), NOON, id="with two names"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n", NOON, id="torn"),
    ],
)
def test_a_certificate_that_names_nobody_is_refused(pem: bytes, at: datetime) -> None:
    with pytest.raises(UnauthorizedError):
        authenticator(at).authenticate(pem)


def test_a_remembered_certificate_still_expires() -> None:
    clock = [NOON]
    certificates = CertificateAuthenticator(lambda: clock[0].timestamp())  # noqa: PLW0108
    pem = certificate("ada")
    assert certificates.authenticate(pem).name == "ada"
    clock[0] = START + timedelta(days=2)
    with pytest.raises(UnauthorizedError):
        certificates.authenticate(pem)


def test_the_cache_is_bounded() -> None:
    certificates = CertificateAuthenticator(NOON.timestamp, entries_max=2)
    for name in ("a", "b", "c"):
        assert certificates.authenticate(certificate(name)).name == name
    assert len(certificates._subjects) == 2


async def test_nothing_shown_is_unauthorized() -> None:
    union = Authenticator(
        certificates=authenticator(NOON), tokens=TokenFile([]), service_accounts=None
    )
    for credentials in (Credentials(), Credentials(bearer_token="x")):
        with pytest.raises(UnauthorizedError, match="^Unauthorized$"):
            await union.authenticate(credentials)


def test_credentials_do_not_print_their_secrets() -> None:
    assert "s3cret" not in repr(Credentials(b"s3cret", "s3cret"))
