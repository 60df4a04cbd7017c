"""What a CertificateSigningRequest asks for, and whether its signer may give that.

Source: Kubernetes documentation, "Certificate Signing Requests, Kubernetes signers" (subjects,
usages, names); upstream's certificate controllers (reasons, messages, ages).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubraft.api.conditions import Condition, conditions_of, find_condition
from kubraft.api.object import Object
from kubraft.api.time import format_time, parse_time

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
_NODE, _NODES = "system:node:", "system:nodes"
_CLIENT_USAGES = {"digital signature", "key encipherment", "client auth"}
_SERVING_USAGES = {"digital signature", "key encipherment", "server auth"}
# How long a request stays. Source: upstream's cleaner.
_DECIDED_FOR, _PENDING_FOR = timedelta(hours=1), timedelta(hours=24)


class RefusedError(Exception):
    """The signer does not sign what is asked for; the text says why."""


def parsed(request: Object) -> x509.CertificateSigningRequest:
    """The PKCS#10 request.

    Raises:
        RefusedError: it is none, or its signature does not fit its key.
    """
    try:
        pem = base64.b64decode(request["spec"]["request"], validate=True)
        found = x509.load_pem_x509_csr(pem)
        if not found.is_signature_valid:
            raise RefusedError("the request's signature does not fit its key")
    except (binascii.Error, ValueError) as error:
        raise RefusedError(f"unable to parse csr: {error}") from error
    return found


def condition_of(request: Object, type_: str) -> Condition | None:
    """The condition of that type."""
    return find_condition(conditions_of(request), type_)


def wants_signing(request: Object) -> bool:
    """Whether the request is approved and neither signed nor refused, and its signer is ours."""
    if request["spec"].get("signerName") not in SIGNERS:
        return False
    refused = condition_of(request, "Denied") or condition_of(request, "Failed")
    signed = (request.get("status") or {}).get("certificate")
    return bool(condition_of(request, "Approved")) and not refused and not signed


def check(request: Object, asked: x509.CertificateSigningRequest) -> None:
    """Hold the request against the rules of its signer.

    Raises:
        RefusedError: a rule does not allow it.
    """
    spec = request["spec"]
    usages = set(spec.get("usages") or ())
    match spec["signerName"]:
        case "kubernetes.io/kube-apiserver-client":
            _check_usages(usages, _CLIENT_USAGES, "client auth")
        case "kubernetes.io/kube-apiserver-client-kubelet":
            _check_node(asked)
            if _names(asked):
                raise RefusedError("DNS, email, IP or URI subjectAltNames are not allowed")
            _check_usages(usages, _CLIENT_USAGES, "client auth", "digital signature")
        case "kubernetes.io/kubelet-serving":
            _check_node(asked)
            _check_serving_names(asked)
            _check_usages(usages, _SERVING_USAGES, "server auth", "digital signature")
            if spec.get("username") != _common_name(asked):
                raise RefusedError("requestor's username does not match the common name")


def is_kubelet_client(request: Object, asked: x509.CertificateSigningRequest) -> bool:
    """Whether a node asks for its client certificate."""
    if request["spec"].get("signerName") != KUBELET_CLIENT:
        return False
    try:
        check(request, asked)
    except RefusedError:
        return False
    return True


def is_of_itself(request: Object, asked: x509.CertificateSigningRequest) -> bool:
    """Whether who asks is who the certificate will name."""
    return bool(request["spec"].get("username") == _common_name(asked))


def decided(
    request: Object, type_: str, reason: str, message: str, now: datetime
) -> list[Condition]:
    """The request's conditions with one more."""
    moment = format_time(now)
    condition = {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }
    return [*conditions_of(request), condition]


def left_s(request: Object, now: datetime) -> float:
    """Seconds until the request is of no use to anybody; 0 or less where it is so already."""
    decisions = [condition_of(request, type_) for type_ in ("Approved", "Denied", "Failed")]
    moments = [
        parse_time(found["lastUpdateTime"]) + _DECIDED_FOR
        for found in decisions
        if found and found.get("lastUpdateTime")
    ]
    moments = moments or [parse_time(request["metadata"]["creationTimestamp"]) + _PENDING_FOR]
    if ends := _certificate_end(request):
        moments.append(ends)
    return (min(moments) - now).total_seconds()


def _certificate_end(request: Object) -> datetime | None:
    text: Any = (request.get("status") or {}).get("certificate")
    if not text:
        return None
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(text)).not_valid_after_utc
    except ValueError:
        return None


def _check_usages(usages: set[str], allowed: set[str], *needed: str) -> None:
    if not usages <= allowed or not usages >= set(needed):
        listed = " ".join(sorted(allowed))
        raise RefusedError(f"usages did not match [{listed}]")


def _check_node(asked: x509.CertificateSigningRequest) -> None:
    groups = [a.value for a in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [_NODES]:
        raise RefusedError("subject organization is not system:nodes")
    if not _common_name(asked).startswith(_NODE):
        raise RefusedError("subject common name does not begin with system:node:")


def _check_serving_names(asked: x509.CertificateSigningRequest) -> None:
    names = _names(asked)
    if not names:
        raise RefusedError("DNS or IP subjectAltName is required")
    if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        raise RefusedError("email and URI subjectAltNames are not allowed")


def _common_name(asked: x509.CertificateSigningRequest) -> str:
    found = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _names(asked: x509.CertificateSigningRequest) -> Sequence[x509.GeneralName]:
    try:
        extension = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return list(extension.value)
