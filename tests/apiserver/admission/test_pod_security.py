"""Pod Security: each check with upstream's words, levels and versions, and what is done by them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver import notes
from apiserver.admission.pod_security.levels import Standard, policy_of
from apiserver.admission.pod_security.plugin import PodSecurity
from apiserver.admission.pod_security.subject import Subject
from kubraft.api.errors import ForbiddenError, InvalidError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import cluster_scoped, namespaced

P = "pod-security.kubernetes.io/"
GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "image": "i",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def _spec(pod: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    """A Pod that meets every level, but for these fields."""
    spec = copy.deepcopy(GOOD)
    for key, value in (pod or {}).items():
        spec[key] = {**spec[key], **value} if key == "securityContext" else value  # type: ignore[dict-item]
    for key, value in container.items():
        first = spec["containers"][0]  # type: ignore[index]
        first[key] = {**first[key], **value} if key == "securityContext" else value
    return spec


BASELINE = [
    (
        {"hostNetwork": True, "hostPID": True},
        {},
        "host namespaces (hostNetwork=true, hostPID=true)",
    ),
    (
        {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        {},
        'hostPath volumes (volume "v")',
    ),
    (
        {},
        {"ports": [{"hostPort": 90}, {"hostPort": 80}]},
        'hostPort (container "a" uses hostPorts 80, 90)',
    ),
    (
        {},
        {"securityContext": {"privileged": True}},
        'privileged (container "a" must not set securityContext.privileged=true)',
    ),
    (
        {},
        {"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "KILL"], "drop": ["ALL"]}}},
        (
            'non-default capabilities (container "a" must not include "SYS_ADMIN" in '
            "securityContext.capabilities.add)"
        ),
    ),
    (
        {},
        {"securityContext": {"procMount": "Unmasked"}},
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        {"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}}},
        {},
        (
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; '
            "user may not be set; role may not be set)"
        ),
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {},
        ('seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")'),
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}},
        {},
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        (
            'hostProcess (pod and container "a" must not set '
            "securityContext.windowsOptions.hostProcess=true)"
        ),
    ),
    (
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        {},
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
    (
        {},
        {"livenessProbe": {"httpGet": {"host": "h"}}},
        'probe or lifecycle host (container "a" uses probe or lifecycle host "h")',
    ),
]
RESTRICTED = [
    (
        {},
        {"securityContext": {"allowPrivilegeEscalation": None}},
        (
            'allowPrivilegeEscalation != false (container "a" must set '
            "securityContext.allowPrivilegeEscalation=false)"
        ),
    ),
    (
        {},
        {"securityContext": {"capabilities": {"add": ["KILL"]}}},
        (
            'unrestricted capabilities (container "a" must set securityContext.capabilities.drop='
            '["ALL"]; container "a" must not include "KILL" in securityContext.capabilities.add)'
        ),
    ),
    (
        {"volumes": [{"name": "v", "nfs": {}}, {"name": "w", "emptyDir": {}}]},
        {},
        'restricted volume types (volume "v" uses restricted volume type "nfs")',
    ),
    (
        {"securityContext": {"runAsNonRoot": None}},
        {},
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
    ),
    (
        {},
        {"securityContext": {"runAsNonRoot": False}},
        'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)',
    ),
    (
        {},
        {"securityContext": {"runAsUser": 0}},
        'runAsUser=0 (container "a" must not set runAsUser=0)',
    ),
    (
        {"securityContext": {"seccompProfile": None}},
        {},
        (
            'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to '
            '"RuntimeDefault" or "Localhost")'
        ),
    ),
]


def _broken(level: str, spec: dict[str, Any], minor: int | None = None, **meta: Any) -> list[str]:
    return [str(each) for each in Standard(level, minor).violations(Subject(meta, spec))]


@pytest.mark.parametrize(("pod", "container", "said"), BASELINE)
def test_what_baseline_forbids(pod: dict[str, Any], container: dict[str, Any], said: str) -> None:
    spec = _spec(pod, **container)
    assert _broken("baseline", spec) == [said]
    assert _broken("privileged", spec) == []
    assert _broken("restricted", spec)


@pytest.mark.parametrize(("pod", "container", "said"), RESTRICTED)
def test_what_restricted_forbids(pod: dict[str, Any], container: dict[str, Any], said: str) -> None:
    spec = _spec(pod, **container)
    assert _broken("restricted", spec) == [said]
    assert _broken("baseline", spec) == []


def test_a_good_pod_and_a_bare_one() -> None:
    assert _broken("restricted", _spec()) == []
    bare = {"containers": [{"name": "a"}, {"name": "b"}]}
    assert _broken("baseline", bare) == []
    assert ", ".join(_broken("restricted", bare)) == (
        'allowPrivilegeEscalation != false (containers "a", "b" must set '
        "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities "
        '(containers "a", "b" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or containers "a", "b" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or containers "a", "b" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


@pytest.mark.parametrize(
    ("minor", "spec", "is_allowed"),
    [
        (33, _spec(livenessProbe={"tcpSocket": {"host": "h"}}), True),
        (34, _spec(livenessProbe={"tcpSocket": {"host": "h"}}), False),
        (26, _spec({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}), False),
        (32, _spec({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}), True),
        (99, _spec({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}), True),
        (22, _spec(securityContext={"runAsUser": 0}), True),
        (23, _spec(securityContext={"runAsUser": 0}), False),
        (24, {"os": {"name": "windows"}, **_spec(securityContext={"capabilities": {}})}, False),
        (25, {"os": {"name": "windows"}, **_spec(securityContext={"capabilities": {}})}, True),
        (34, {"hostUsers": False, **_spec({"securityContext": {"runAsNonRoot": None}})}, False),
        (35, {"hostUsers": False, **_spec({"securityContext": {"runAsNonRoot": None}})}, True),
    ],
)
def test_versions(minor: int, spec: dict[str, Any], is_allowed: bool) -> None:
    assert (_broken("restricted", spec, minor) == []) is is_allowed


def test_annotations_of_old_versions() -> None:
    annotations = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    spec = {"containers": [{"name": "a"}]}
    (said,) = _broken("baseline", spec, 18, annotations=annotations)
    assert said == (
        "seccompProfile (forbidden annotation "
        'seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert _broken("baseline", spec, 19, annotations=annotations) == []


def test_labels() -> None:
    policy = policy_of({f"{P}enforce": "baseline", f"{P}enforce-version": "v1.30"})
    assert (str(policy.enforce), str(policy.warn)) == ("baseline:v1.30", "baseline:v1.30")
    assert str(policy.audit) == "privileged:latest"
    wrong = policy_of({f"{P}enforce": "tight", f"{P}warn": "x", f"{P}audit-version": "1"})
    assert (wrong.enforce.level, wrong.warn.level) == ("restricted", "privileged")
    assert [message for _, _, message in wrong.errors] == [
        "must be one of privileged, baseline, restricted",
        'must be "latest" or "v1.x"',
        "must be one of privileged, baseline, restricted",
    ]


def _namespace(**labels: str) -> Object:
    named = {f"{P}{key.replace('_', '-')}": value for key, value in labels.items()}
    return cluster_scoped("Namespace", "shop", metadata={"labels": named})


BAD = namespaced("Pod", "bad", spec=_spec({"hostNetwork": True}))


async def test_a_pod_is_refused_in_upstreams_words() -> None:
    plugin = PodSecurity(context(MemoryCluster(_namespace(enforce="baseline"))))
    said = notes.begin()
    with pytest.raises(ForbiddenError) as caught:
        await plugin.validate(request(BAD))
    assert caught.value.message == (
        'pods "bad" is forbidden: violates PodSecurity "baseline:latest": host namespaces '
        "(hostNetwork=true)"
    )
    assert said.warnings == []
    assert said.annotations == {f"{P}enforce-policy": "baseline:latest"}
    await plugin.validate(request(namespaced("Pod", "good", spec=_spec())))


async def test_workloads_are_warned_of_and_noted() -> None:
    labels = {"enforce": "restricted", "audit": "baseline", "warn_version": "v1.30"}
    plugin = PodSecurity(context(MemoryCluster(_namespace(**labels))))
    spec = {"template": {"metadata": {}, "spec": BAD["spec"]}}
    made = namespaced("Deployment", "web", spec=spec)
    made["apiVersion"] = "apps/v1"
    said = notes.begin()
    asked = request(made)
    assert plugin.handles(asked)
    await plugin.validate(asked)
    detail = "host namespaces (hostNetwork=true)"
    assert said.warnings == [f'would violate PodSecurity "restricted:v1.30": {detail}']
    assert said.annotations == {
        f"{P}audit-violations": f'would violate PodSecurity "baseline:latest": {detail}'
    }


async def test_updates_that_change_nothing_that_counts_pass() -> None:
    plugin = PodSecurity(context(MemoryCluster(_namespace(enforce="baseline"))))
    labelled = copy.deepcopy(BAD)
    labelled["metadata"]["labels"] = {"a": "b"}
    await plugin.validate(request(labelled, old=BAD))
    labelled["spec"]["containers"][0]["image"] = "other"
    with pytest.raises(ForbiddenError):
        await plugin.validate(request(labelled, old=BAD))
    assert not plugin.handles(request(BAD, old=BAD, subresource="status"))


async def test_namespaces() -> None:
    other = copy.deepcopy(BAD)
    other["metadata"]["name"] = "also"
    plugin = PodSecurity(context(MemoryCluster(BAD, other)))
    with pytest.raises(InvalidError) as caught:
        await plugin.validate(request(_namespace(enforce="tight")))
    assert caught.value.message == (
        f'Namespace "shop" is invalid: metadata.labels[{P}enforce]: Invalid value: "tight": must '
        "be one of privileged, baseline, restricted"
    )
    said = notes.begin()
    await plugin.validate(request(_namespace(enforce="baseline"), old=_namespace()))
    assert said.warnings == [
        (
            'existing pods in namespace "shop" violate the new PodSecurity enforce level '
            '"baseline:latest"'
        ),
        "also (and 1 other pod): host namespaces",
    ]
