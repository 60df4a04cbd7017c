"""What an APIService may say, in kube-aggregator's words."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.errors import InvalidError
from tests.apiserver.harness import Bench

SPEC = {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
SERVICE = {"namespace": "x", "name": "y"}


def api_service(name: str = "v1.a.b", **spec: Any) -> Any:
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    return {**kind, "metadata": {"name": name}, "spec": {**SPEC, **spec}}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            api_service("v2.a.b"),
            'metadata.name: Invalid value: "v2.a.b": must be `spec.version+"."+spec.group`: '
            '"v1.a.b"',
            id="name",
        ),
        pytest.param(
            api_service("v2.", group="", version="v2"),
            "spec.group: Required value: only v1 may have an empty group and it better be legacy "
            "kube",
            id="core-group",
        ),
        pytest.param(
            api_service("v1.A", group="A"), 'spec.group: Invalid value: "A": a ', id="group"
        ),
        pytest.param(
            api_service("1.a.b", version="1"), 'spec.version: Invalid value: "1": a ', id="version"
        ),
        pytest.param(
            api_service(groupPriorityMinimum=20_001),
            "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
            id="group-priority",
        ),
        pytest.param(
            api_service(versionPriority=0),
            "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            id="version-priority",
        ),
        pytest.param(
            api_service(caBundle="YWJj"),
            'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
            id="local-bundle",
        ),
        pytest.param(
            api_service(insecureSkipTLSVerify=True),
            "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have "
            "insecureSkipTLSVerify",
            id="local-insecure",
        ),
        pytest.param(
            api_service(service={"name": "y"}),
            "spec.service.namespace: Required value",
            id="namespace",
        ),
        pytest.param(
            api_service(service={**SERVICE, "port": 0}),
            "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, "
            "inclusive",
            id="port",
        ),
        pytest.param(
            api_service(service=SERVICE, insecureSkipTLSVerify=True, caBundle="YWJj"),
            "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is "
            "present",
            id="both",
        ),
    ],
)
async def test_what_cannot_be_is_refused(bench: Bench, obj: Any, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        await bench.create(obj)
    assert message in caught.value.message
