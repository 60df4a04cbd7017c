"""The official Python client: typed calls, watch, patches, the dynamic client, leader election."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client import ApiException

from tests.clients.control_plane import ROOT


@pytest.fixture
def api(kubeconfig: str) -> Any:
    return config.new_client_from_config(kubeconfig)


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=name, labels={"of": "test"}), data=data
    )


def pod(name: str) -> Any:
    container = client.V1Container(name="c", image="kubraft/web:1")
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name), spec=client.V1PodSpec(containers=[container])
    )


def test_typed_objects_come_and_go(api: Any, namespace: str) -> None:
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    made = core.create_namespaced_config_map(namespace, config_map("a", k="v"))
    assert made.metadata.uid
    made.data["k"] = "w"
    changed = core.replace_namespaced_config_map("a", namespace, made)
    assert changed.data == {"k": "w"}
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("a", namespace, made)
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("none", namespace)
    assert missing.value.status == 404

    created = core.create_namespaced_pod(namespace, pod("p"))
    assert created.status.phase == "Pending"
    assert created.spec.restart_policy == "Always"
    core.patch_namespaced_pod_status("p", namespace, {"status": {"message": "hello"}})
    assert core.read_namespaced_pod_status("p", namespace).status.message == "hello"

    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"a": "b"}), spec=created.spec
    )
    template.spec.node_name = None
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels={"a": "b"}), template=template
    )
    apps.create_namespaced_deployment(
        namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec)
    )
    scale = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 3}})
    assert scale.spec.replicas == 3

    listed = core.list_namespaced_config_map(namespace, label_selector="of=test", limit=1)
    assert [each.metadata.name for each in listed.items] == ["a"]
    core.delete_namespaced_config_map("a", namespace)
    core.delete_collection_namespaced_pod(namespace, grace_period_seconds=0)
    assert core.list_namespaced_pod(namespace).items == []


def test_every_kind_of_patch(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace, config_map("a", k="v", gone="soon"))
    json_patch = [{"op": "replace", "path": "/data/k", "value": "w"}]
    assert core.patch_namespaced_config_map("a", namespace, json_patch).data["k"] == "w"
    merged = core.patch_namespaced_config_map("a", namespace, {"data": {"gone": None}})
    assert merged.data == {"k": "w"}
    strategic = core.patch_namespaced_config_map(
        "a", namespace, {"metadata": {"finalizers": ["x/y"]}}
    )
    assert strategic.metadata.finalizers == ["x/y"]
    core.patch_namespaced_config_map("a", namespace, {"metadata": {"finalizers": None}})


def test_watch_goes_on_from_a_list(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("a"))
    core.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}})
    core.delete_namespaced_config_map("a", namespace)
    watching, seen = watch.Watch(), []
    for event in watching.stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=60
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            watching.stop()
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_dynamic_client_finds_kinds_and_drives_them(api: Any, namespace: str) -> None:
    found = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    made = found.create(body=body, namespace=namespace)
    assert made.metadata.name == "a"
    merged = found.patch(
        body={"metadata": {"name": "a"}, "data": {"k": "v"}},
        namespace=namespace,
        content_type="application/merge-patch+json",
    )
    assert merged.data.k == "v"
    names = [each.metadata.name for each in found.get(namespace=namespace).items]
    assert names == ["a"]
    found.delete(name="a", namespace=namespace)
    assert found.get(namespace=namespace).items == []


def test_of_two_candidates_one_leads_until_it_dies(kubeconfig: str, namespace: str) -> None:
    with contextlib.ExitStack() as ended:

        def candidate(name: str) -> subprocess.Popen[str]:
            words = [kubeconfig, namespace, name]
            started = subprocess.Popen(
                [sys.executable, "-m", "tests.clients.candidate", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
            )
            ended.enter_context(started)
            ended.callback(started.kill)
            return started

        def leads(process: subprocess.Popen[str]) -> bool:
            assert process.stdout
            return "leading\n" in iter(process.stdout.readline, "")

        one = candidate("one")
        assert leads(one)
        two = candidate("two")
        one.kill()
        assert leads(two)
    found = client.CoreV1Api(config.new_client_from_config(kubeconfig))
    lock = found.read_namespaced_config_map("lock", namespace)
    record = lock.metadata.annotations["control-plane.alpha.kubernetes.io/leader"]
    assert '"holderIdentity": "two"' in record
