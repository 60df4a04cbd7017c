"""Who a container is: security contexts as the runtime is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.node.environment import ConfigError
from agents.node.security import check_image_user, must_not_be_root, namespaces, security_context
from agents.runtime.capabilities import capabilities
from agents.runtime.errors import InvalidFailure
from agents.runtime.linux import DEFAULT_CAPABILITIES
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.node.pods import pod


def secured(common: dict[str, Any], own: dict[str, Any] | None = None) -> Object:
    wanted = pod(securityContext=common)
    wanted["spec"]["containers"][0]["securityContext"] = own or {}
    return wanted


def context(wanted: Object) -> cri.LinuxContainerSecurityContext:
    return security_context(wanted, wanted["spec"]["containers"][0])


def test_the_containers_own_word_counts_before_the_pods() -> None:
    found = context(
        secured(
            {"runAsUser": 1, "runAsGroup": 2, "supplementalGroups": [5, 6], "fsGroup": 6},
            {"runAsUser": 3, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
        )
    )
    assert (found.run_as_user.value, found.run_as_group.value) == (3, 2)
    assert list(found.supplemental_groups) == [5, 6]
    assert (found.readonly_rootfs, found.no_new_privs) == (True, True)


def test_root_is_refused_where_the_pod_says_so() -> None:
    words = r"runAsUser breaks non-root policy \(pod: \"p_default\(u\)\", container: main\)"
    with pytest.raises(ConfigError, match=words):
        context(secured({"runAsNonRoot": True, "runAsUser": 0}))
    assert context(secured({"runAsNonRoot": True}, {"runAsNonRoot": False, "runAsUser": 0}))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        pytest.param(cri.Image(uid=cri.Int64Value(value=7)), "", id="somebody"),
        pytest.param(cri.Image(uid=cri.Int64Value(value=0)), "image will run as root", id="root"),
        pytest.param(cri.Image(), "image will run as root", id="nobody says"),
        pytest.param(cri.Image(username="www"), r"has non-numeric user \(www\)", id="a name"),
    ],
)
def test_else_the_image_must_say_who_runs(image: cri.Image, words: str) -> None:
    wanted = secured({"runAsNonRoot": True})
    (container,) = wanted["spec"]["containers"]
    assert must_not_be_root(wanted, container)
    if not words:
        check_image_user(wanted, container, image)
        return
    with pytest.raises(ConfigError, match=words):
        check_image_user(wanted, container, image)


@pytest.mark.parametrize(
    ("spec", "pid"),
    [
        pytest.param({}, cri.CONTAINER, id="its own"),
        pytest.param({"shareProcessNamespace": True}, cri.POD, id="the Pod's"),
        pytest.param({"hostPID": True}, cri.NODE, id="the host's"),
    ],
)
def test_processes(spec: Object, pid: int) -> None:
    assert namespaces(spec).pid == pid


PROFILES = cri.SecurityProfile


@pytest.mark.parametrize(
    ("common", "own", "kind", "path"),
    [
        pytest.param(None, None, PROFILES.Unconfined, "", id="nobody says"),
        pytest.param("RuntimeDefault", None, PROFILES.RuntimeDefault, "", id="the Pod does"),
        pytest.param("RuntimeDefault", "Unconfined", PROFILES.Unconfined, "", id="its own"),
        pytest.param(
            None, "Localhost", PROFILES.Localhost, "/var/lib/kubelet/seccomp/a.json", id="a file"
        ),
    ],
)
def test_seccomp_profiles(common: str | None, own: str | None, kind: int, path: str) -> None:
    def profile(type_: str | None) -> dict[str, Any]:
        named = {"localhostProfile": "a.json"} if type_ == "Localhost" else {}
        return {"seccompProfile": {"type": type_, **named}} if type_ else {}

    found = context(secured(profile(common), profile(own)))
    assert (found.seccomp.profile_type, found.seccomp.localhost_ref) == (kind, path)
    assert not found.HasField("apparmor")


def test_app_armor_profiles() -> None:
    profile = {"type": "Localhost", "localhostProfile": "k8s-nginx"}
    found = context(secured({"appArmorProfile": profile})).apparmor
    assert (found.profile_type, found.localhost_ref) == (PROFILES.Localhost, "k8s-nginx")


def test_capabilities_are_taken_and_given_by_name() -> None:
    assert set(capabilities((), ())) == DEFAULT_CAPABILITIES
    assert capabilities(["NET_BIND_SERVICE"], ["ALL"]) == (10,)
    assert 12 in capabilities(["CAP_NET_ADMIN"], [])
    assert 0 not in capabilities([], ["chown"])
    with pytest.raises(InvalidFailure, match='unknown capability "CAP_FLY"'):
        capabilities(["FLY"], [])
