"""helm 4, as a library: installs, upgrades, rolls back and uninstalls a chart."""

from __future__ import annotations

from pathlib import Path

import helm_python as helm
from kubernetes import client, config

CHART = Path(__file__).with_name("chart")


def test_release_comes_changes_and_goes(kubeconfig: str, namespace: str) -> None:
    api = config.new_client_from_config(kubeconfig)
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    with helm.Config(kubeconfig_path=kubeconfig, namespace=namespace) as release:
        installed = release.install(CHART, "shop", {"greeting": "welcome"})
        assert (installed["revision"], installed["status"]) == (1, "deployed")
        assert core.read_namespaced_config_map("shop", namespace).data == {"greeting": "welcome"}
        assert apps.read_namespaced_deployment("shop", namespace).spec.replicas == 2

        release.upgrade(CHART, "shop", {"replicas": 5})
        assert apps.read_namespaced_deployment("shop", namespace).spec.replicas == 5
        assert core.read_namespaced_config_map("shop", namespace).data == {"greeting": "hello"}
        release.rollback("shop", version=1)
        assert core.read_namespaced_config_map("shop", namespace).data == {"greeting": "welcome"}
        assert len(release.history("shop")) == 3
        assert [each["name"] for each in release.list()] == ["shop"]

        release.uninstall("shop")
        assert release.list() == []
    assert core.list_namespaced_service(namespace).items == []
    assert apps.list_namespaced_deployment(namespace).items == []
