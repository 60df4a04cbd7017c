"""Requests for certificates: who asks, who decides, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.admission.certificates import CertificateApproval, CertificateSubjectRestriction
from apiserver.authz.attributes import Attributes, Decision
from kubraft.api.errors import ForbiddenError, InvalidError
from kubraft.api.gvk import CERTIFICATE_SIGNING_REQUEST
from kubraft.api.object import Object
from tests.apiserver.admission.requests import request
from tests.apiserver.harness import Bench
from tests.apiserver.registry.kind_cases import thing
from tests.apiserver.registry.more_kind_cases import signing_request

SIGNER = "kubernetes.io/kube-apiserver-client"


def asked(*groups: str, **spec: Any) -> Object:
    wanted = {"request": signing_request("ann", *groups), "usages": ["client auth"],
              "signerName": SIGNER, **spec}  # fmt: skip
    return thing("certificates.k8s.io/v1", "CertificateSigningRequest", spec=wanted)


def decided(obj: Object, *kinds: str, status: str = "True") -> Object:
    conditions = [{"type": kind, "status": status} for kind in kinds]
    return {**obj, "status": {**(obj.get("status") or {}), "conditions": conditions}}


async def test_a_decision_is_written_to_its_own_subresource(bench: Bench) -> None:
    made = await bench.create(asked())
    assert made["spec"]["username"] == "admin"
    changed = decided({**made, "spec": {**made["spec"], "username": "eve"}}, "Approved")
    kept = await bench.update(changed)
    assert "conditions" not in kept["status"]
    made = await bench.update({**changed, "metadata": kept["metadata"]}, "approval")
    assert made["spec"]["username"] == "admin"
    (condition,) = made["status"]["conditions"]
    assert condition["type"] == "Approved"
    assert condition["lastUpdateTime"] == condition["lastTransitionTime"]
    row = bench.registry.resources[CERTIFICATE_SIGNING_REQUEST].columns.cells(
        made, bench.clock.now()
    )
    assert row[-1] == "Approved"


@pytest.mark.parametrize(
    ("kinds", "status", "message"),
    [
        pytest.param(
            ("Approved", "Denied"), "True",
            'status.conditions: Invalid value: "Denied": Approved and Denied conditions are '
            "mutually exclusive", id="both",
        ),
        pytest.param(
            (), "True",
            'status.conditions: Forbidden: updates may not remove a condition of type "Approved"',
            id="taken back",
        ),
        pytest.param(
            ("Approved",), "False",
            'status.conditions[0].status: Unsupported value: "False": supported values: "True"',
            id="not quite",
        ),
    ],
)  # fmt: skip
async def test_a_decision_is_one_for_ever(
    bench: Bench, kinds: tuple[str, ...], status: str, message: str
) -> None:
    made = await bench.update(decided(await bench.create(asked()), "Approved"), "approval")
    with pytest.raises(InvalidError) as caught:
        await bench.update(decided(made, *kinds, status=status), "approval")
    assert caught.value.message.partition(" is invalid: ")[2] == message


async def test_who_issues_does_not_decide(bench: Bench) -> None:
    made = await bench.create(asked())
    with pytest.raises(InvalidError, match='may not add a condition of type "Approved"'):
        await bench.update(decided(made, "Approved"), "status")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"request": "YQ=="}, "PEM block type must be CERTIFICATE REQUEST"),
        ({"usages": []}, "spec.usages: Required value: usages must be provided"),
        ({"usages": ["odd"]}, 'spec.usages\\[0\\]: Unsupported value: "odd"'),
        ({"signerName": "mine"}, "must be a fully qualified domain and path of the form"),
        ({"expirationSeconds": 60}, "may not specify a duration less than 600 seconds"),
    ],
)
async def test_a_request_obeys_rules(bench: Bench, spec: Object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        await bench.create(asked(**spec))


class Only:
    """Lets one name of a signer be approved."""

    def __init__(self, name: str) -> None:
        self.name = name

    def authorize(self, attributes: Attributes) -> Decision:
        assert (attributes.verb, attributes.resource) == ("approve", "signers")
        return Decision(allowed=attributes.name == self.name)


@pytest.mark.parametrize(
    ("name", "allowed"), [(SIGNER, True), ("kubernetes.io/*", True), ("acme.io/*", False)]
)
async def test_a_decision_needs_the_leave_of_the_signer(name: str, allowed: bool) -> None:
    plugin = CertificateApproval(Only(name))  # type: ignore[arg-type]
    what = request(asked(), old=asked(), subresource="approval")
    assert plugin.handles(what)
    if allowed:
        await plugin.validate(what)
        return
    with pytest.raises(ForbiddenError, match="user not permitted to approve requests with signer"):
        await plugin.validate(what)


async def test_nobody_asks_for_the_group_that_may_do_anything() -> None:
    plugin = CertificateSubjectRestriction()
    await plugin.validate(request(asked("devs")))
    with pytest.raises(ForbiddenError, match="signer with system:masters group is not allowed"):
        await plugin.validate(request(asked("system:masters")))
