from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.controllers.certificates.request import (
    RefusedError,
    check,
    left_s,
    parsed,
    wants_signing,
)
from agents.controllers.certificates.signing import Authority, sign
from kubraft.api.object import Object
from tests.agents.controllers.objects import NOW, at

CLIENT, SERVER = ["digital signature", "client auth"], ["digital signature", "server auth"]
ADDRESS = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))
KEY = ec.generate_private_key(ec.SECP256R1())


def _request(
    signer: str,
    name: str,
    usages: Sequence[str],
    *,
    group: str = "system:nodes",
    names: Sequence[x509.GeneralName] = (),
    **spec: Any,
) -> Object:
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"name": "r", "uid": "u", "creationTimestamp": at(-60)},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": f"kubernetes.io/{signer}",
            "usages": list(usages),
            "username": name,
            **spec,
        },
    }


NODE = "system:node:n0"


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (_request("kube-apiserver-client", "ann", CLIENT), ""),
        (_request("kube-apiserver-client", "ann", SERVER), "usages did not match"),
        (_request("kube-apiserver-client-kubelet", NODE, CLIENT), ""),
        (_request("kube-apiserver-client-kubelet", "ann", CLIENT), "common name"),
        (_request("kube-apiserver-client-kubelet", NODE, CLIENT, group="x"), "organization"),
        (_request("kube-apiserver-client-kubelet", NODE, CLIENT, names=[ADDRESS]), "not allowed"),
        (_request("kubelet-serving", NODE, SERVER, names=[ADDRESS]), ""),
        (_request("kubelet-serving", NODE, SERVER), "is required"),
        (_request("kubelet-serving", NODE, CLIENT, names=[ADDRESS]), "usages did not match"),
        (_request("kubelet-serving", NODE, SERVER, names=[ADDRESS], username="ann"), "username"),
        (
            _request("kubelet-serving", NODE, SERVER, names=[x509.RFC822Name("a@b.example")]),
            "email and URI",
        ),
    ],
)
def test_what_each_signer_allows(request_: Object, refusal: str) -> None:
    asked = parsed(request_)
    if not refusal:
        check(request_, asked)
        return
    with pytest.raises(RefusedError, match=refusal):
        check(request_, asked)


def test_what_is_no_request_is_refused() -> None:
    request = _request("kube-apiserver-client", "ann", CLIENT)
    request["spec"]["request"] = base64.b64encode(b"nothing").decode()
    with pytest.raises(RefusedError):
        parsed(request)


@pytest.mark.parametrize(
    ("types", "certificate", "wanted"),
    [
        ([], "", False),
        (["Approved"], "", True),
        (["Approved", "Failed"], "", False),
        (["Approved"], "Yg==", False),
        (["Denied"], "", False),
    ],
)
def test_only_what_is_approved_is_signed(types: list[str], certificate: str, wanted: bool) -> None:
    request = _request("kube-apiserver-client", "ann", CLIENT)
    request["status"] = {"conditions": [{"type": t} for t in types], "certificate": certificate}
    assert wants_signing(request) is wanted


def test_a_certificate_says_what_was_asked_and_no_more() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    authority = Authority(
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=30))
        .sign(KEY, hashes.SHA256()),
        KEY,
    )
    request = _request("kubelet-serving", NODE, SERVER, names=[ADDRESS], expirationSeconds=3600)
    pem = sign(authority, request, parsed(request), most=dt.timedelta(days=365), now=NOW)
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(authority.certificate)
    assert made.not_valid_after_utc - made.not_valid_before_utc == dt.timedelta(hours=1)
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [ADDRESS]
    del request["spec"]["expirationSeconds"]
    pem = sign(authority, request, parsed(request), most=dt.timedelta(days=365), now=NOW)
    end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    assert end == authority.certificate.not_valid_after_utc, "never longer than its authority"


@pytest.mark.parametrize(
    ("conditions", "left"),
    [([], 24 * 3600 - 60), ([{"type": "Denied", "lastUpdateTime": at(-600)}], 3000)],
)
def test_how_long_a_request_stays(conditions: list[dict[str, str]], left: float) -> None:
    request = _request("kube-apiserver-client", "ann", CLIENT)
    request["status"] = {"conditions": conditions}
    assert left_s(request, NOW) == left
