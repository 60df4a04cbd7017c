"""A cache that lags costs a second try, and troubles nobody with a warning."""

from __future__ import annotations

import pytest

from agents.controllers.endpoints.endpoints_controller import EndpointsController
from kubraft.api.errors import ConflictError
from kubraft.api.gvk import ENDPOINTS, EVENT, POD
from kubraft.api.object import Object, ObjectKey
from tests.agents.controllers.lagging_api import LaggingApi

KEY = ObjectKey("default", "web")


SERVICE_WEB: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default", "uid": "s"},
    "spec": {
        "selector": {"app": "web"},
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    },
}
READY_POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "uid": "p", "labels": {"app": "web"}},
    "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


async def test_a_conflict_is_no_event() -> None:
    api = LaggingApi()
    context = api.context()
    controller = EndpointsController(context)
    api.put(SERVICE_WEB)
    api.deliver_all()
    await controller.reconcile(KEY)
    api.deliver_all()
    (made,) = api.of_kind(ENDPOINTS)
    metadata = {**made["metadata"], "annotations": {"by": "another"}}
    api.put({**made, "metadata": metadata})  # the cache does not hear of it
    context.informers.of(POD)._store(ObjectKey("default", "p"), READY_POD)
    with pytest.raises(ConflictError):
        await controller.reconcile(KEY)
    assert not controller._recorder._pending
    assert not api.of_kind(EVENT)
