"""CertificateSigningRequests against the real API server on a real etcd."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509

from kubraft.api.gvk import CERTIFICATE_SIGNING_REQUEST as REQUEST
from tests.agents.controllers.certificates.test_request import CLIENT, NODE, SERVER, _request
from tests.agents.controllers.cluster import Cluster
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def _create(cluster: Cluster, signer: str, user: str, usages: list[str]) -> str:
    made = _request(signer, user, usages)
    name = f"{cluster.namespace}-{signer}-{len(usages)}"
    del made["spec"]["username"]
    metadata = {"name": name}
    kind = {"apiVersion": REQUEST.api_version, "kind": REQUEST.kind}
    await cluster.client.create({**kind, "metadata": metadata, "spec": made["spec"]})
    return name


async def test_requests_are_approved_signed_and_refused(cluster: Cluster) -> None:
    def status(name: str) -> dict[str, Any]:
        return (cluster.get(REQUEST, name, "") or {}).get("status") or {}

    # An administrator may ask for nodes.
    node = await _create(cluster, "kube-apiserver-client-kubelet", NODE, CLIENT)
    await eventually(lambda: "certificate" in status(node))
    (condition,) = status(node)["conditions"]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    pem = base64.b64decode(status(node)["certificate"])
    assert NODE in x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
    wrong = await _create(cluster, "kube-apiserver-client", "ann", [*SERVER, "code signing"])
    await eventually(lambda: cluster.get(REQUEST, wrong, "") is not None)
    assert not status(wrong), "a person has to approve it"
    approved = {"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}
    known = await cluster.client.get(REQUEST, wrong)
    known["status"] = {"conditions": [approved]}
    await cluster.client.update(known, "approval")
    await eventually(lambda: len(status(wrong).get("conditions", ())) == 2)
    failed = status(wrong)["conditions"][1]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    for name in (node, wrong):
        await cluster.client.delete(REQUEST, name)
