"""Makes admission requests of objects."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from apiserver.admission import AdmissionContext, AdmissionRequest, Operation
from apiserver.user import User
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from tests.apiserver.memory import MemoryCluster, MemoryWriter
from tests.apiserver.objects import MASTER


def request(
    obj: Object | None,
    *,
    old: Object | None = None,
    operation: Operation | None = None,
    user: User = MASTER,
    **fields: Any,
) -> AdmissionRequest:
    """A create of `obj`, an update where `old` is given, a delete where `obj` is None."""
    subject = obj or old
    assert subject is not None
    if operation is None:
        operation = Operation.DELETE if obj is None else Operation.CREATE
        if obj is not None and old is not None:
            operation = Operation.UPDATE
    gvk = gvk_of(subject)
    values: dict[str, Any] = {
        "resource": f"{gvk.kind.lower()}s",
        "namespace": subject["metadata"].get("namespace", ""),
        "name": subject["metadata"].get("name", ""),
        **fields,
    }
    return AdmissionRequest(
        operation, user, gvk, obj=copy.deepcopy(obj), old=copy.deepcopy(old), **values
    )


def context(cluster: MemoryCluster) -> AdmissionContext:
    return AdmissionContext(cluster, MemoryWriter(cluster), ManualClock(), Random(1))
