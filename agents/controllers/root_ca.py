"""The ConfigMap `kube-root-ca.crt`, by which Pods of every Namespace can check the API server.

Source: Kubernetes documentation, "Managing Service Accounts" (the projected volume's CA bundle).
"""

from __future__ import annotations

from pathlib import Path

from agents.controllers.context import Context
from agents.controllers.executor import create_if_absent
from kubraft.api.gvk import CONFIG_MAP, NAMESPACE
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.client.controller import Controller

NAME = "kube-root-ca.crt"
_DESCRIPTION = "The CA of the API server's certificate, for addresses inside the cluster."


class RootCaPublisher:
    """Reconciles one Namespace at a time, by its name; idle where no CA is given.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, context: Context) -> None:
        path = context.options.root_ca_file
        self._certificate = Path(path).read_text() if path else ""
        self._client = context.client
        self._namespaces = context.informers.of(NAMESPACE)
        self._config_maps = context.informers.of(CONFIG_MAP)
        self._controller = Controller(
            "root-ca-certificate-publisher-controller",
            self.reconcile,
            workers=1,
            clock=context.clock,
        )
        if self._certificate:
            self._namespaces.add_handler(self._on_namespace)
            self._config_maps.add_handler(self._on_config_map)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, namespace: str) -> float | None:
        """Create the ConfigMap where it is missing, mend it where it differs."""
        found = self._namespaces.get(ObjectKey("", namespace))
        if found is None or is_terminating(found):
            return None
        data = {"ca.crt": self._certificate}
        old = self._config_maps.get(ObjectKey(namespace, NAME))
        if old is not None:
            if old.get("data") != data or old.get("binaryData"):
                mended = {k: v for k, v in old.items() if k != "binaryData"}
                await self._client.update({**mended, "data": data})
            return None
        await create_if_absent(
            self._client,
            {
                "apiVersion": CONFIG_MAP.api_version,
                "kind": CONFIG_MAP.kind,
                "metadata": {
                    "name": NAME,
                    "namespace": namespace,
                    "annotations": {"kubernetes.io/description": _DESCRIPTION},
                },
                "data": data,
            },
        )
        return None

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if new is not None and old is None:
            self._controller.queue.add(key_of(new).name)

    def _on_config_map(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        if key.name == NAME and old is not None:
            self._controller.queue.add(key.namespace)
