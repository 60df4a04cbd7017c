"""Which rule of a policy file decides, and which files are none."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.audit.policy import Level, PolicyError, read_policy
from apiserver.rest.request_info import RequestInfo
from apiserver.user import User

ANN = User("ann", groups=("devs", "system:authenticated"))


def _policy(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **fields}


def _info(path: str = "", **fields: Any) -> RequestInfo:
    return RequestInfo(fields.pop("verb", "get"), path or "/api/v1/x", **fields)


PODS = _info(resource="pods", namespace="shop", name="web", version="v1")
STATUS = _info(resource="pods", namespace="shop", name="web", subresource="status", verb="update")
DEPLOYMENTS = _info(resource="deployments", group="apps", namespace="shop")
HEALTH = _info("/healthz/ping")


@pytest.mark.parametrize(
    ("rule", "info", "matches"),
    [
        ({}, PODS, True),
        ({"users": ["ann"]}, PODS, True),
        ({"users": ["bob"]}, PODS, False),
        ({"userGroups": ["devs", "ops"]}, PODS, True),
        ({"userGroups": ["ops"]}, PODS, False),
        ({"verbs": ["get", "list"]}, PODS, True),
        ({"verbs": ["update"]}, PODS, False),
        ({"namespaces": ["shop"]}, PODS, True),
        ({"namespaces": [""]}, PODS, False),
        ({"resources": [{"group": ""}]}, PODS, True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, PODS, True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, STATUS, False),
        ({"resources": [{"group": "", "resources": ["pods/status"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["*/status"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["*"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, DEPLOYMENTS, False),
        ({"resources": [{"group": "*", "resources": ["deployments"]}]}, DEPLOYMENTS, True),
        (
            {"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["db"]}]},
            PODS,
            False,
        ),
        ({"resources": [{"group": ""}]}, HEALTH, False),
        ({"nonResourceURLs": ["/healthz*"]}, HEALTH, True),
        ({"nonResourceURLs": ["/healthz"]}, HEALTH, False),
        ({"nonResourceURLs": ["*"]}, PODS, False),
    ],
)
def test_rules(rule: dict[str, Any], info: RequestInfo, matches: bool) -> None:
    policy = read_policy(_policy({"level": "Request", **rule}))
    assert (policy.decide(ANN, info).level is Level.Request) is matches


def test_the_first_rule_decides_and_what_none_matches_is_not_written() -> None:
    policy = read_policy(
        _policy(
            {"level": "None", "users": ["ann"]},
            {"level": "Metadata", "verbs": ["get"], "omitStages": ["RequestReceived"]},
            omitStages=["Panic"],
            omitManagedFields=True,
        )
    )
    assert policy.decide(ANN, PODS).level is Level.None_
    decision = policy.decide(User("bob"), PODS)
    assert decision.omit_stages == {"Panic", "RequestReceived"}
    assert decision.omit_managed_fields
    assert policy.decide(User("bob"), STATUS).level is Level.None_


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "kind must be Policy"),
        ({"kind": "Policy", "apiVersion": "v1"}, "apiVersion must be"),
        (_policy(), "0 rules"),
        (_policy({"level": "All"}), r"rules\[0\].level: Unsupported value"),
        (_policy({"level": "None", "omitStages": ["Later"]}), "Invalid value: 'Later'"),
        (_policy({"level": "None", "users": "ann"}), "must be a list of strings"),
        (
            _policy({"level": "None", "nonResourceURLs": ["/x"], "namespaces": ["a"]}),
            "cannot apply to both",
        ),
        (_policy({"level": "None", "nonResourceURLs": ["/a*b"]}), "Invalid value"),
    ],
)
def test_what_is_no_policy_is_refused(value: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        read_policy(value)
