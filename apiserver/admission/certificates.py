"""Who may decide on a request for a certificate, and issue it: whom its signer lets.

Who approves needs verb "approve", who issues verb "sign", on the signer of the request, or on all
signers of its domain. Nobody may ask for a client certificate of the group that may do anything.

Source: Kubernetes documentation, "Certificates and Certificate Signing Requests"; upstream's
plugins of these names (texts).
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.authz import Attributes, Authorizer
from apiserver.authz.authorizer import PRIVILEGED_GROUP
from kubraft.api.gvk import CERTIFICATE_SIGNING_REQUEST
from kubraft.api.object import Object

CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"


class _OfSigner(Plugin):
    """Asks authorization for a verb on the signer of a request."""

    verb = ""
    subresource = ""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.gvk == CERTIFICATE_SIGNING_REQUEST
            and request.operation is Operation.UPDATE
            and request.subresource == self.subresource
        )

    def concerns(self, new: Object, old: Object) -> bool:
        """Whether the update is one that needs leave."""
        del new, old
        return True

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.obj or {}, request.old or {}
        signer = str((old.get("spec") or {}).get("signerName", ""))
        if not self.concerns(new, old):
            return
        domain = signer.partition("/")[0]
        if not any(self._may(request, name) for name in (signer, f"{domain}/*")):
            raise request.forbidden(
                f'user not permitted to {self.verb} requests with signerName "{signer}"'
            )

    def _may(self, request: AdmissionRequest, name: str) -> bool:
        attributes = Attributes(
            request.user,
            self.verb,
            group=CERTIFICATE_SIGNING_REQUEST.group,
            version="*",
            resource="signers",
            name=name,
        )
        return self._authorizer.authorize(attributes).allowed


class CertificateApproval(_OfSigner):
    """Of decisions."""

    name, verb, subresource = "CertificateApproval", "approve", "approval"


class CertificateSigning(_OfSigner):
    """Of certificates, and of telling that there will be none."""

    name, verb, subresource = "CertificateSigning", "sign", "status"

    def concerns(self, new: Object, old: Object) -> bool:
        after, before = new.get("status") or {}, old.get("status") or {}
        failed = _failed(after) != _failed(before)
        return failed or after.get("certificate") != before.get("certificate")


class CertificateSubjectRestriction(Plugin):
    """Refuses requests for certificates of the group that may do anything."""

    name = "CertificateSubjectRestriction"

    def handles(self, request: AdmissionRequest) -> bool:
        created = request.operation is Operation.CREATE and not request.subresource
        return created and request.gvk == CERTIFICATE_SIGNING_REQUEST

    async def validate(self, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec") or {}
        if spec.get("signerName") != CLIENT_SIGNER:
            return
        if PRIVILEGED_GROUP in _organizations(spec.get("request", "")):
            raise request.forbidden(
                f"use of {CLIENT_SIGNER} signer with {PRIVILEGED_GROUP} group is not allowed"
            )


def _failed(status: Object) -> bool:
    return any(c.get("type") == "Failed" for c in status.get("conditions") or ())


def common_name(spec: Object) -> str:
    """Whom a request for a certificate is for; empty where that cannot be read."""
    names = _names(spec.get("request", ""), NameOID.COMMON_NAME)
    return names[0] if names else ""


def _organizations(request: str) -> list[str]:
    return _names(request, NameOID.ORGANIZATION_NAME)


def _names(request: str, kind: x509.ObjectIdentifier) -> list[str]:
    try:
        subject = x509.load_pem_x509_csr(base64.b64decode(request)).subject
    except (ValueError, TypeError, binascii.Error):
        return []  # validation says so
    return [str(name.value) for name in subject.get_attributes_for_oid(kind)]
