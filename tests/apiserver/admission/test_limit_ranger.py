from typing import Any

import pytest

from apiserver.admission.limit_ranger import ANNOTATION, LimitRanger
from kubraft.api.errors import ForbiddenError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import namespaced


def pod(*resources: dict[str, Any], init: dict[str, Any] | None = None) -> Object:
    containers = [{"name": f"c{n}", "resources": r} for n, r in enumerate(resources)]
    spec: dict[str, Any] = {"containers": containers}
    if init is not None:
        spec["initContainers"] = [{"name": "init", "resources": init}]
    return namespaced("Pod", "web", spec=spec)


def limits(type_: str = "Container", **item: dict[str, str]) -> Object:
    return namespaced("LimitRange", f"limits-{type_}", spec={"limits": [{"type": type_, **item}]})


@pytest.mark.parametrize(
    ("item", "given", "expected"),
    [
        pytest.param(
            {"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}},
            {},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
            id="both",
        ),
        pytest.param(
            {"default": {"cpu": "2"}},
            {},
            {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}},
            id="the default limit is the default request",
        ),
        pytest.param(
            {"max": {"cpu": "4"}},
            {},
            {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}},
            id="the maximum is the default limit",
        ),
        pytest.param(
            {"min": {"cpu": "1"}}, {}, {"requests": {"cpu": "1"}},
            id="the minimum is the last resort for a request",
        ),
        pytest.param(
            {"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}},
            {"requests": {"cpu": "1500m"}},
            {"requests": {"cpu": "1500m"}, "limits": {"cpu": "2"}},
            id="what is given stays",
        ),
        pytest.param(
            {"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}},
            {"limits": {"cpu": "500m"}},
            {"limits": {"cpu": "500m"}},
            id="a given limit leaves the request to the schema's default",
        ),
    ],
)  # fmt: skip
async def test_defaults(
    item: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    asked = request(pod(given))
    await LimitRanger(MemoryCluster(limits(**item))).mutate(asked)
    assert asked.obj is not None
    assert asked.obj["spec"]["containers"][0]["resources"] == expected


async def test_what_was_set_is_said_in_an_annotation() -> None:
    asked = request(pod({}, {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, init={}))
    defaults = limits(default={"cpu": "2", "memory": "1Gi"})
    await LimitRanger(MemoryCluster(defaults)).mutate(asked)
    assert asked.obj is not None
    assert asked.obj["metadata"]["annotations"][ANNOTATION] == (
        "LimitRanger plugin set: cpu, memory request for container c0; "
        "cpu, memory limit for container c0; memory request for container c1; "
        "memory limit for container c1; cpu, memory request for init container init; "
        "cpu, memory limit for init container init"
    )


CPU_HALF = {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}}
CPU_1_TO_3 = {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}


@pytest.mark.parametrize(
    ("limit_range", "pod", "message"),
    [
        pytest.param(
            limits(min={"cpu": "1"}), pod(CPU_HALF),
            "minimum cpu usage per Container is 1, but request is 500m", id="too little",
        ),
        pytest.param(
            limits(min={"cpu": "1"}), pod({}),
            "minimum cpu usage per Container is 1.  No request is specified", id="nothing said",
        ),
        pytest.param(
            limits(max={"cpu": "2"}), pod(CPU_1_TO_3),
            "maximum cpu usage per Container is 2, but limit is 3", id="too much",
        ),
        pytest.param(
            limits(max={"cpu": "2"}), pod({}),
            "maximum cpu usage per Container is 2.  No limit is specified", id="no limit said",
        ),
        pytest.param(
            limits(maxLimitRequestRatio={"cpu": "2"}), pod(CPU_1_TO_3),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            id="the limit is too far above the request",
        ),
        pytest.param(
            limits(maxLimitRequestRatio={"cpu": "2"}), pod({}),
            "cpu max limit to request ratio per Container is 2, but no request is specified or "
            "request is 0",
            id="no ratio",
        ),
        pytest.param(
            limits("Pod", max={"cpu": "5"}), pod(CPU_1_TO_3, CPU_1_TO_3),
            "maximum cpu usage per Pod is 5, but limit is 6", id="all containers together",
        ),
        pytest.param(
            limits("Pod", min={"cpu": "2"}), pod(CPU_HALF, CPU_HALF),
            "minimum cpu usage per Pod is 2, but request is 1", id="too little together",
        ),
        pytest.param(
            limits(max={"cpu": "2", "memory": "1Gi"}),
            pod({"limits": {"cpu": "3", "memory": "2Gi"}}),
            "[maximum cpu usage per Container is 2, but limit is 3, "
            "maximum memory usage per Container is 1Gi, but limit is 2Gi]",
            id="several",
        ),
        pytest.param(
            limits(max={"cpu": "400m"}), pod({"limits": {"cpu": "1"}}, init={}),
            "[maximum cpu usage per Container is 400m, but limit is 1, "
            "maximum cpu usage per Container is 400m.  No limit is specified]",
            id="init containers too",
        ),
    ],
)  # fmt: skip
async def test_what_is_out_of_bounds_is_refused(
    limit_range: Object, pod: Object, message: str
) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        await LimitRanger(MemoryCluster(limit_range)).validate(request(pod))
    assert refusal.value.message == f'pods "web" is forbidden: {message}'


async def test_what_is_within_bounds_passes() -> None:
    plugin = LimitRanger(
        MemoryCluster(
            limits(min={"cpu": "500m"}, max={"cpu": "3"}, maxLimitRequestRatio={"cpu": "3"}),
            limits("Pod", max={"cpu": "3500m"}),
        )
    )
    await plugin.validate(request(pod(CPU_1_TO_3, CPU_HALF)))
    await plugin.validate(request(namespaced("Pod", "far", namespace="bank", spec={})))
