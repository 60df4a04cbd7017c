"""CertificateSigningRequests, whose spec says who asked and never changes.

Source: Kubernetes API reference, certificates.k8s.io/v1; upstream's strategy and validation.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from cryptography import x509

from apiserver.registry.causes import all_invalid, forbidden, invalid, unsupported
from apiserver.registry.columns import AGE, NAME, cell, columns
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, at_least, named, needed, one_of, truly, unique
from apiserver.user import User, user_info
from kubraft.api.duration import human_duration
from kubraft.api.errors import Cause
from kubraft.api.gvk import CERTIFICATE_SIGNING_REQUEST, GroupVersionKind
from kubraft.api.names import dns1123_subdomain_errors, path_segment_errors
from kubraft.api.object import Object

_GROUP = ("certificates.k8s.io", "v1")
CLUSTER_TRUST_BUNDLE = GroupVersionKind(*_GROUP, "ClusterTrustBundle")

_USAGES: Final = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign"),
    *("data encipherment", "decipher only", "digital signature", "email protection"),
    *("encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement"),
    *("key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime"),
    *("server auth", "signing", "timestamping"),
)
_DECISIONS: Final = ("Approved", "Denied")
_PEM = re.compile(rb"-----BEGIN ([^-]+)-----")
_SIGNER_TEXT = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


class RequestStrategy(RuleStrategy):
    """Requests for certificates."""

    def note_requester(self, obj: Object, user: User) -> None:
        """Write down who asks, in place of what the request says of that."""
        spec = obj.setdefault("spec", {})
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        spec.update({name: value for name, value in user_info(user).items() if value})

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old["spec"]

    def prepare_for_approval(self, new: Object, old: Object, now: str) -> None:
        """Take over the conditions alone."""
        conditions = at(new, "status.conditions") or []
        before = {c.get("type"): c for c in at(old, "status.conditions") or ()}
        for condition in conditions:
            same = before.get(condition.get("type"), {})
            if same.get("status") == condition.get("status"):
                condition.setdefault("lastTransitionTime", same.get("lastTransitionTime", now))
            condition.setdefault("lastTransitionTime", now)
            condition.setdefault("lastUpdateTime", now)
        new["spec"] = old["spec"]
        new["status"] = {**(old.get("status") or {}), "conditions": conditions}
        if not conditions:
            del new["status"]["conditions"]

    def validate_approval(self, new: Object, old: Object) -> list[Cause]:
        """Rules on a decision: it is one, and is never taken back."""
        return [*_conditions(new), *_kept(new, old, (*_DECISIONS, "Failed"))]

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        causes = [*_conditions(new), *_kept(new, old, (*_DECISIONS, "Failed"))]
        before, after = _types(old), _types(new)
        causes += [
            forbidden("status.conditions", f'updates may not add a condition of type "{decision}"')
            for decision in _DECISIONS
            if decision in after and decision not in before
        ]
        issued = at(old, "status.certificate")
        if issued and at(new, "status.certificate") != issued:
            text = "updates may not set certificate content when it has already been set"
            causes.append(forbidden("status.certificate", text))
        return causes


def _types(obj: Object) -> set[str]:
    return {condition.get("type", "") for condition in at(obj, "status.conditions") or ()}


def _kept(new: Object, old: Object, kinds: tuple[str, ...]) -> list[Cause]:
    after = _types(new)
    return [
        forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
        for kind in kinds
        if kind in _types(old) and kind not in after
    ]


def _conditions(obj: Object) -> list[Cause]:
    causes: list[Cause] = []
    for index, condition in enumerate(at(obj, "status.conditions") or ()):
        field, kind = f"status.conditions[{index}]", condition.get("type", "")
        if kind in (*_DECISIONS, "Failed") and condition.get("status") != "True":
            status = condition.get("status", "")
            causes.append(unsupported(f"{field}.status", status, ["True"]))
    if _types(obj).issuperset(_DECISIONS):
        text = "Approved and Denied conditions are mutually exclusive"
        causes.append(invalid("status.conditions", "Denied", text))
    return causes


def _request(place: Place) -> list[Cause]:
    try:
        raw = base64.b64decode(place.value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    begun = _PEM.search(raw)
    if begun is None or begun[1] != b"CERTIFICATE REQUEST":
        return [invalid(place.field, place.value, "PEM block type must be CERTIFICATE REQUEST")]
    try:
        good = x509.load_pem_x509_csr(raw).is_signature_valid
    except (ValueError, TypeError) as error:
        return [invalid(place.field, place.value, str(error).partition("\n")[0])]
    return [] if good else [invalid(place.field, place.value, "the signature is not valid")]


def _signer(place: Place) -> list[Cause]:
    domain, _, path = place.value.partition("/")
    if "." not in domain or not path or "/" in path:
        return [invalid(place.field, place.value, _SIGNER_TEXT)]
    errors = dns1123_subdomain_errors(domain) + dns1123_subdomain_errors(path)
    return all_invalid(place.field, place.value, errors)


def _requested(obj: Object) -> str:
    seconds = at(obj, "spec.expirationSeconds")
    return "<none>" if seconds is None else human_duration(seconds)


def _state(obj: Object) -> str:
    found = _types(obj)
    shown: list[str] = [kind for kind in ("Denied", "Approved", "Failed") if kind in found]
    if at(obj, "status.certificate"):
        shown.append("Issued")
    return ",".join(shown) or "Pending"


def _bundle_name(name: str) -> list[str]:
    return dns1123_subdomain_errors(name.replace(":", "."))


def _bundle(place: Place) -> list[Cause]:
    found = _PEM.findall(place.value.encode())
    if found and set(found) == {b"CERTIFICATE"}:
        return []
    text = "at least one trust anchor must be provided"
    return [invalid(place.field, "<value omitted>", text)]


def _name_of_signer(place: Place) -> list[Cause]:
    name = place.value["metadata"].get("name", "")
    signer: Any = at(place.value, "spec.signerName")
    wanted = signer.replace("/", ":") + ":" if signer else ""
    if signer and not name.startswith(wanted):
        text = f"ClusterTrustBundle for signerName {signer} must be named with prefix {wanted}"
        return [invalid("metadata.name", name, text)]
    if not signer and ":" in name:
        text = 'ClusterTrustBundle without signer name must not have ":" in its name'
        return [invalid("metadata.name", name, text)]
    return []


ROWS = (
    Resource(
        CERTIFICATE_SIGNING_REQUEST,
        "certificatesigningrequests",
        RequestStrategy(
            name=path_segment_errors,
            checks=(
                ("spec.request", needed(), _request),
                ("spec.usages", needed("usages must be provided"), unique()),
                ("spec.usages[]", one_of(*_USAGES)),
                ("spec.signerName", needed(), _signer),
                (
                    "spec.expirationSeconds",
                    at_least(600, "may not specify a duration less than 600 seconds (10 minutes)"),
                ),
            ),
            status={},
        ),
        columns(
            NAME,
            AGE,
            cell("SignerName", "spec.signerName", none="<none>"),
            cell("Requestor", "spec.username"),
            cell("RequestedDuration", _requested),
            cell("Condition", _state),
        ),
        namespaced=False,
        short_names=("csr",),
        subresources=("status", "approval"),
        selectable_fields=("spec.signerName",),
    ),
    Resource(
        CLUSTER_TRUST_BUNDLE,
        "clustertrustbundles",
        RuleStrategy(
            name=_bundle_name,
            checks=(
                ("", _name_of_signer),
                ("spec.signerName", truly(bool, _SIGNER_TEXT), named(lambda _: [])),
                ("spec.trustBundle", needed(), _bundle),
            ),
            fixed={"spec.signerName": ""},
        ),
        columns(NAME, cell("SignerName", "spec.signerName", none="<none>")),
        namespaced=False,
        selectable_fields=("spec.signerName",),
    ),
)
