import asyncio
import copy
from typing import Any

import pytest

from apiserver.admission import service_account as module
from apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from kubraft.api.errors import ForbiddenError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import namespaced

DEFAULT = namespaced("ServiceAccount", "default")


def pod(**spec: Any) -> Object:
    return namespaced("Pod", "web", spec={"containers": [{"name": "c"}], **spec})


async def mutated(pod: Object, *objects: Object) -> dict[str, Any]:
    plugin = ServiceAccount(context(MemoryCluster(*objects)))
    asked = request(pod)
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    await plugin.validate(asked)
    assert asked.obj is not None
    spec: dict[str, Any] = asked.obj["spec"]
    return spec


def mounts(spec: dict[str, Any]) -> list[str]:
    return [m["name"] for c in spec["containers"] for m in c.get("volumeMounts", ())]


async def test_a_token_is_mounted_into_every_container() -> None:
    spec = await mutated(
        pod(containers=[{"name": "a"}, {"name": "b"}], initContainers=[{"name": "i"}]), DEFAULT
    )
    (volume,) = spec["volumes"]
    sources = volume["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    assert volume["projected"]["defaultMode"] == 420
    for container in [*spec["containers"], *spec["initContainers"]]:
        assert container["volumeMounts"] == [
            {"name": volume["name"], "mountPath": MOUNT_PATH, "readOnly": True}
        ]


@pytest.mark.parametrize(
    ("pod_says", "account_says", "mounted"),
    [
        pytest.param(None, None, True, id="nobody says anything"),
        pytest.param(None, False, False, id="the account says no"),
        pytest.param(True, False, True, id="the Pod's word goes first"),
        pytest.param(False, True, False, id="the Pod says no"),
    ],
)
async def test_automounting(
    pod_says: bool | None, account_says: bool | None, mounted: bool
) -> None:
    account = copy.deepcopy(DEFAULT)
    if account_says is not None:
        account["automountServiceAccountToken"] = account_says
    spec = await mutated(
        pod(**({} if pod_says is None else {"automountServiceAccountToken": pod_says})), account
    )
    assert bool(mounts(spec)) is mounted
    assert ("volumes" in spec) is mounted


async def test_a_container_with_a_volume_of_its_own_at_the_place_keeps_it() -> None:
    own = {"name": "c", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}
    spec = await mutated(pod(containers=[own]), DEFAULT)
    assert mounts(spec) == ["own"]
    assert "volumes" not in spec


async def test_a_pod_that_has_the_volume_already_gets_no_second_one() -> None:
    spec = await mutated(pod(volumes=[{"name": "kube-api-access-abcde"}]), DEFAULT)
    assert mounts(spec) == ["kube-api-access-abcde"]
    assert len(spec["volumes"]) == 1


async def test_pull_secrets_come_from_the_account_unless_the_pod_has_some() -> None:
    account = {**DEFAULT, "imagePullSecrets": [{"name": "theirs"}]}
    assert (await mutated(pod(), account))["imagePullSecrets"] == [{"name": "theirs"}]
    own = [{"name": "own"}]
    assert (await mutated(pod(imagePullSecrets=own), account))["imagePullSecrets"] == own


async def test_a_named_account_must_exist() -> None:
    with pytest.raises(ForbiddenError) as refusal:
        await mutated(pod(serviceAccountName="robot"), DEFAULT)
    assert refusal.value.message == (
        'pods "web" is forbidden: error looking up service account shop/robot: '
        'serviceaccount "robot" not found'
    )


async def test_the_default_account_of_a_new_namespace_is_waited_for() -> None:
    cluster = MemoryCluster()
    plugin = ServiceAccount(context(cluster))
    waiting = asyncio.create_task(plugin.mutate(request(pod())))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    cluster.put(namespaced("ServiceAccount", "other"))
    cluster.put(DEFAULT)
    await waiting


async def test_waiting_for_the_default_account_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEFAULT_ACCOUNT_WAIT_S", 0.01)
    with pytest.raises(ForbiddenError, match='serviceaccount "default" not found'):
        await mutated(pod())


async def test_a_mirror_pod_has_no_account() -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert await mutated(mirror) == {"containers": [{"name": "c"}]}
    mirror["spec"]["serviceAccountName"] = "default"
    with pytest.raises(ForbiddenError, match="a mirror pod may not reference service accounts"):
        await mutated(mirror, DEFAULT)
