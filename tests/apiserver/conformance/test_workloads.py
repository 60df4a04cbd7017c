"""Workloads as far as the API server alone is concerned: scale, status, conflicts, evictions."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import Cluster
from tests.apiserver.conformance.held import conforms
from tests.apiserver.registry.kind_cases import LABELS, ONCE, POD_SPEC, SELECTOR, TEMPLATE, thing

pytestmark = pytest.mark.asyncio(loop_scope="session")

BASIC = "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should "
SPEC: Object = {"selector": SELECTOR, "template": TEMPLATE}


@conforms(
    "[sig-apps] Deployment Deployment should have a working scale subresource",
    "[sig-apps] ReplicaSet Replicaset should have a working scale subresource",
    "[sig-apps] ReplicationController should get and update a ReplicationController scale",
    f"{BASIC}have a working scale subresource",
)
@pytest.mark.parametrize(
    ("group", "obj"),
    [
        pytest.param("/apis/apps/v1", thing("apps/v1", kind, "web", spec=SPEC), id=kind)
        for kind in ("Deployment", "ReplicaSet", "StatefulSet")
    ]
    + [
        pytest.param(
            "/api/v1",
            thing("v1", "ReplicationController", "web", spec={"template": TEMPLATE}),
            id="ReplicationController",
        )
    ],
)
async def test_replicas_are_scaled(cluster: Cluster, group: str, obj: Object) -> None:
    namespace = (await cluster.namespace()).replace("/api/v1", group)
    path = f"{namespace}/{obj['kind'].lower()}s"
    await cluster.create(path, obj)
    scale = await cluster.get(f"{path}/web/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"]["replicas"] == 1
    scale["spec"]["replicas"] = 2
    assert (await cluster.update(f"{path}/web/scale", scale))["spec"]["replicas"] == 2
    assert (await cluster.get(f"{path}/web"))["spec"]["replicas"] == 2
    patched = await cluster.patch(f"{path}/web/scale", {"spec": {"replicas": 4}})
    assert patched["spec"]["replicas"] == 4
    assert (await cluster.get(f"{path}/web"))["spec"]["replicas"] == 4


@conforms("[sig-apps] Job should apply changes to a job status")
async def test_the_status_of_a_job_is_written_by_itself(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/jobs".replace("/api/v1", "/apis/batch/v1")
    spec = {"template": ONCE, "suspend": True}
    await cluster.create(path, thing("batch/v1", "Job", "once", spec=spec))
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}}
    when = "2026-01-02T03:04:05Z"
    patched = await cluster.patch(f"{path}/once/status", {**patch, "status": {"startTime": when}})
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"
    condition = {"type": "CustomConditionType", "status": "True", "lastProbeTime": when}
    patched["status"]["conditions"] = [condition]
    updated = await cluster.update(f"{path}/once/status", patched)
    assert updated["status"]["conditions"][0].items() >= condition.items()
    assert (await cluster.get(f"{path}/once/status"))["status"] == updated["status"]


async def test_jobs_and_replicas_are_selected_by_their_counts(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    jobs = f"{namespace}/jobs".replace("/api/v1", "/apis/batch/v1")
    for name in ("none", "one"):
        await cluster.create(jobs, thing("batch/v1", "Job", name, spec={"template": ONCE}))
    await cluster.patch(f"{jobs}/one/status", {"status": {"succeeded": 1}})
    for count, name in ((0, "none"), (1, "one")):
        found = await cluster.items(f"{jobs}?fieldSelector=status.successful%3D{count}")
        assert [o["metadata"]["name"] for o in found] == [name]
    sets = f"{namespace}/replicasets".replace("/api/v1", "/apis/apps/v1")
    await cluster.create(sets, thing("apps/v1", "ReplicaSet", spec=SPEC))
    assert len(await cluster.items(f"{sets}?fieldSelector=status.replicas%3D0")) == 1


def _pod(name: str, **fields: Any) -> Object:
    pod = thing("v1", "Pod", name, spec={**POD_SPEC, **fields})
    pod["metadata"]["labels"] = LABELS
    return pod


@conforms("[sig-apps] DisruptionController should block an eviction until the PDB is updated to "
          "allow it")  # fmt: skip
async def test_a_budget_holds_up_an_eviction(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    budgets = f"{namespace}/poddisruptionbudgets".replace("/api/v1", "/apis/policy/v1")
    spec = {"minAvailable": 1, "selector": SELECTOR}
    budget = await cluster.create(budgets, thing("policy/v1", "PodDisruptionBudget", spec=spec))
    await cluster.create(f"{namespace}/pods", _pod("p"))
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await cluster.patch(f"{namespace}/pods/p/status", {"status": status})
    counts = {"observedGeneration": budget["metadata"]["generation"], "expectedPods": 1}
    counts |= {"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0}
    await cluster.patch(f"{budgets}/x/status", {"status": counts})
    eviction = thing("policy/v1", "Eviction", "p")
    message = await cluster.refused(429, "POST", f"{namespace}/pods/p/eviction", eviction)
    assert message == "Cannot evict pod as it would violate the pod's disruption budget."
    await cluster.patch(f"{budgets}/x/status", {"status": {"disruptionsAllowed": 1}})
    await cluster.create(f"{namespace}/pods/p/eviction", eviction)
    await cluster.gone(f"{namespace}/pods/p")


EACH = "[sig-node] Pods "
MORE = f"{EACH}Extended "


@conforms(
    f"{EACH}should delete a collection of pods",
    f"{EACH}should patch a pod status",
    f"{MORE}Pods Set QOS Class should be set on Pods with matching resource requests and limits "
    "for memory and cpu",
)
async def test_pods_are_sorted_patched_and_deleted(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/pods"
    amounts = {"cpu": "100m", "memory": "100Mi"}
    resources = {"limits": amounts, "requests": amounts}
    guaranteed = [{**POD_SPEC["containers"][0], "resources": resources}]
    made = await cluster.create(path, _pod("p-0", containers=guaranteed))
    assert made["status"]["qosClass"] == "Guaranteed"
    patched = await cluster.patch(
        f"{path}/p-0/status", {"status": {"message": "Patched", "reason": "E2E"}}
    )
    assert (patched["status"]["message"], patched["status"]["reason"]) == ("Patched", "E2E")
    for number in (1, 2):
        await cluster.create(path, _pod(f"p-{number}"))
    await cluster.delete(f"{path}?labelSelector=app%3Dx", {"gracePeriodSeconds": 0})
    assert await cluster.items(path) == []


@conforms(f"{MORE}(pod generation) Pod Generation custom-set generation on new pods and graceful "
          "delete")  # fmt: skip
async def test_a_pods_generation_is_the_servers(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/pods"
    pod = _pod("p", nodeName="nowhere")
    pod["metadata"]["generation"] = 100
    assert (await cluster.create(path, pod))["metadata"]["generation"] == 1
    tolerations = [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]
    read = await cluster.get(f"{path}/p")
    read["spec"]["tolerations"] += tolerations
    assert (await cluster.update(f"{path}/p", read))["metadata"]["generation"] == 2
    patched = await cluster.patch(f"{path}/p", {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["generation"] == 2
    # A graceful deletion is a change of what is wanted.
    deleted = await cluster.delete(f"{path}/p")
    assert deleted["metadata"]["generation"] == 3
    await cluster.delete(f"{path}/p", {"gracePeriodSeconds": 0})


RUNTIME = "[sig-node] RuntimeClass should "


@conforms(
    f"{RUNTIME}reject a Pod requesting a deleted RuntimeClass [NodeConformance]",
    f"{RUNTIME}reject a Pod requesting a non-existent RuntimeClass [NodeConformance]",
    f"{RUNTIME}schedule a Pod requesting a RuntimeClass and initialize its Overhead "
    "[NodeConformance]",
    f"{RUNTIME}schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance]",
)
async def test_a_pod_has_the_overhead_of_its_class(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/pods"
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    name = cluster.name("class")
    pod = _pod("p", runtimeClassName=name)
    said = f'pods "p" is forbidden: pod rejected: RuntimeClass "{name}" not found'
    assert await cluster.refused(403, "POST", path, pod) == said
    amounts = {"cpu": "10m", "memory": "1Mi"}
    made = thing("node.k8s.io/v1", "RuntimeClass", name, handler="runc")
    made = await cluster.create(classes, {**made, "overhead": {"podFixed": amounts}})
    assert (await cluster.create(path, pod))["spec"]["overhead"] == amounts
    plain = thing("node.k8s.io/v1", "RuntimeClass", f"{name}-plain", handler="runc")
    await cluster.create(classes, plain)
    other = await cluster.create(path, _pod("q", runtimeClassName=f"{name}-plain"))
    assert "overhead" not in other["spec"]
    await cluster.delete(f"{classes}/{name}")
    assert await cluster.refused(403, "POST", path, _pod("r", runtimeClassName=name)) == (
        said.replace('"p"', '"r"')
    )


@conforms("[sig-node] Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls")
async def test_sysctls_have_names(cluster: Cluster) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
    sysctls = [{"name": name, "value": "100000000"} for name in names]
    pod = _pod("p", securityContext={"sysctls": sysctls})
    message = await cluster.refused(422, "POST", f"{await cluster.namespace()}/pods", pod)
    for said in ('Invalid value: "foo-"', 'Invalid value: "bar.."'):
        assert said in message
    for fine in ("safe-and-unsafe", "kernel.shmmax"):
        assert fine not in message


@conforms("[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API")
async def test_a_pod_may_have_inline_volumes(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/pods"
    volume = {"name": "v", "csi": {"driver": "e2e.example.com", "readOnly": True}}
    made = await cluster.create(path, _pod("p", volumes=[volume]))
    assert volume in made["spec"]["volumes"]
    assert len(await cluster.items(path)) == 1
    patched = await cluster.patch(f"{path}/p", {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["labels"]["a"] == "b"
    await cluster.delete(f"{path}/p")


LIMITS = "[sig-scheduling] LimitRange should "


@conforms(f"{LIMITS}create a LimitRange with defaults and ensure pod has those defaults applied.")
async def test_a_pod_gets_the_limits_of_its_namespace(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    item = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
        "default": {"cpu": "300m", "memory": "500Mi"},
    }
    ranges = f"{namespace}/limitranges"
    made = await cluster.create(ranges, thing("v1", "LimitRange", spec={"limits": [item]}))
    pod = await cluster.create(f"{namespace}/pods", _pod("none"))
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources == {"requests": item["defaultRequest"], "limits": item["default"]}
    for name, amounts in (("little", {"cpu": "10m"}), ("much", {"cpu": "600m"})):
        container = {**POD_SPEC["containers"][0], "resources": {"requests": amounts,
                                                                "limits": amounts}}  # fmt: skip
        await cluster.refused(403, "POST", f"{namespace}/pods", _pod(name, containers=[container]))
    made["spec"]["limits"][0]["min"] = {"cpu": "9m", "memory": "49Mi"}
    await cluster.update(f"{ranges}/x", made)
    container["resources"] = {"requests": {"cpu": "10m"}, "limits": {"cpu": "10m"}}
    await cluster.create(f"{namespace}/pods", _pod("little", containers=[container]))


@conforms("[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify "
          "PriorityClass endpoints can be operated with different HTTP methods")  # fmt: skip
async def test_the_value_of_a_priority_class_stays(cluster: Cluster) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    names = [cluster.name("p") for _ in range(2)]
    for value, name in enumerate(names, 1):
        made = thing("scheduling.k8s.io/v1", "PriorityClass", name, value=value)
        await cluster.create(path, made)
    listed = {o["metadata"]["name"]: o for o in await cluster.items(path)}
    assert {"system-cluster-critical", "system-node-critical", *names} <= listed.keys()
    made = await cluster.get(f"{path}/{names[0]}")
    made["description"] = "updated"
    assert (await cluster.update(f"{path}/{names[0]}", made))["description"] == "updated"
    patched = await cluster.patch(f"{path}/{names[0]}", {"description": "patched"})
    assert patched["description"] == "patched"
    patched["value"] = 77
    message = await cluster.refused(422, "PUT", f"{path}/{names[0]}", patched)
    assert "value: Forbidden: may not be changed in an update." in message


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
@conforms(
    "[sig-storage] ConfigMap should be immutable if `immutable` field is set",
    "[sig-storage] Secrets should be immutable if `immutable` field is set",
    "[sig-node] ConfigMap should fail to create ConfigMap with empty key",
    "[sig-node] Secrets should fail to create secret due to empty secret key",
)
async def test_what_is_immutable_stays(cluster: Cluster, kind: str) -> None:
    path = f"{await cluster.namespace()}/{kind.lower()}s"
    await cluster.refused(422, "POST", path, thing("v1", kind, data={"": "dmFsdWU="}))
    made = await cluster.create(path, thing("v1", kind, data={"a": "b25l"}))
    made["data"]["a"] = "dHdv"
    made = await cluster.update(f"{path}/x", made)
    made["immutable"] = True
    made = await cluster.update(f"{path}/x", made)
    for change in ({"data": {"a": "b25l"}}, {"immutable": False}):
        message = await cluster.refused(422, "PUT", f"{path}/x", {**made, **change})
        assert "field is immutable when `immutable` is set" in message
    await cluster.patch(f"{path}/x", {"metadata": {"labels": {"a": "b"}}})
    await cluster.delete(f"{path}/x")
