import asyncio
import threading
import time
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

import pytest

from apiserver.admission import (
    AdmissionContext,
    AdmissionPlugin,
    AdmissionRequest,
    HookError,
    Plugin,
    build_chain,
    load_hooks,
    mutating,
    validating,
)
from apiserver.admission.guard import GuardedHook
from apiserver.admission.hook import HookFunction
from apiserver.authz import Authorizer
from kubraft.api.errors import ApiError, ForbiddenError, InternalError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import cluster_scoped, namespaced
from tests.harness.installed import install_example

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "admission-hook"


def hook(function: HookFunction, *, mutates: bool = True, **options: Any) -> AdmissionPlugin:
    decorator = mutating if mutates else validating
    return GuardedHook(decorator(**options)(function)(context(MemoryCluster())))


def config_map(**data: str) -> Object:
    return namespaced("ConfigMap", "c", data=data)


def set_x(request: AdmissionRequest, _context: AdmissionContext) -> None:
    assert request.obj is not None
    request.obj["data"]["x"] = "set"


async def set_x_later(request: AdmissionRequest, _context: AdmissionContext) -> None:
    await asyncio.sleep(0)
    set_x(request, _context)


@pytest.mark.parametrize("function", [set_x, set_x_later])
async def test_a_function_may_change_the_object(function: HookFunction) -> None:
    asked = request(config_map())
    await hook(function).mutate(asked)
    assert asked.obj is not None
    assert asked.obj["data"] == {"x": "set"}


@pytest.mark.parametrize("function", [set_x, set_x_later])
async def test_a_validating_hook_changes_nothing(function: HookFunction) -> None:
    asked = request(config_map())
    plugin = hook(function, mutates=False)
    await plugin.mutate(asked)
    await plugin.validate(asked)
    assert asked.obj == config_map()


def refuse(request: AdmissionRequest, _context: AdmissionContext) -> None:
    raise request.forbidden("not today")


async def test_a_refusal_reaches_the_client_as_it_is() -> None:
    for plugin in (hook(refuse), hook(refuse, failure_policy="Ignore")):
        with pytest.raises(ForbiddenError) as refusal:
            await plugin.mutate(request(config_map()))
        assert refusal.value.message == 'configmaps "c" is forbidden: not today'


def half_done(request: AdmissionRequest, _context: AdmissionContext) -> None:
    set_x(request, _context)
    raise KeyError("spec")


def renames(request: AdmissionRequest, _context: AdmissionContext) -> None:
    assert request.obj is not None
    request.obj["metadata"]["name"] = "other"


def forgets(request: AdmissionRequest, _context: AdmissionContext) -> None:
    request.obj = None


def no_json(request: AdmissionRequest, _context: AdmissionContext) -> None:
    assert request.obj is not None
    request.obj["data"]["x"] = {1, 2}


def hangs(request: AdmissionRequest, _context: AdmissionContext) -> None:
    threading.Event().wait(1)


async def waits(request: AdmissionRequest, _context: AdmissionContext) -> None:
    await asyncio.sleep(60)


async def times_out_itself(request: AdmissionRequest, _context: AdmissionContext) -> None:
    raise TimeoutError("their own")


FAILURES = [
    pytest.param(half_done, "KeyError: 'spec'", id="raises"),
    pytest.param(renames, "it changed metadata.name", id="renames the object"),
    pytest.param(forgets, "it left no object", id="takes the object away"),
    pytest.param(no_json, "it left what is no JSON: ", id="leaves what is no JSON"),
    pytest.param(hangs, "no answer within 0.05 s", id="blocks"),
    pytest.param(waits, "no answer within 0.05 s", id="waits"),
    pytest.param(times_out_itself, "TimeoutError: their own", id="has a time limit of its own"),
]


@pytest.mark.parametrize(("function", "cause"), FAILURES)
async def test_a_defect_is_one_line_that_names_the_hook(function: HookFunction, cause: str) -> None:
    asked = request(config_map())
    with pytest.raises(InternalError) as failure:
        await hook(function, name="mine", timeout_s=0.05).mutate(asked)
    assert failure.value.message.startswith(
        f'Internal error occurred: failed calling admission hook "mine": {cause}'
    )
    assert "\n" not in failure.value.message
    assert asked.obj == config_map()


@pytest.mark.parametrize(("function", "cause"), FAILURES)
async def test_a_defect_may_be_ignored_and_leaves_nothing_behind(
    function: HookFunction, cause: str
) -> None:
    asked = request(config_map())
    await hook(function, timeout_s=0.05, failure_policy="Ignore").mutate(asked)
    assert asked.obj == config_map()


async def test_functions_that_block_do_not_block_each_other_or_the_loop() -> None:
    def slow(request: AdmissionRequest, _context: AdmissionContext) -> None:
        time.sleep(0.2)

    plugin = hook(slow)
    started = time.perf_counter()
    await asyncio.gather(*(plugin.mutate(request(config_map())) for _ in range(8)))
    assert time.perf_counter() - started < 1.2


async def test_handles_that_raises_is_the_hooks_failure_too() -> None:
    class Broken(Plugin):
        name = "broken"
        failure_policy = "Fail"

        def handles(self, request: AdmissionRequest) -> bool:
            raise ZeroDivisionError

    broken = Broken()
    with pytest.raises(InternalError, match='admission hook "broken": ZeroDivisionError'):
        GuardedHook(broken).handles(request(config_map()))
    broken.failure_policy = "Ignore"
    assert not GuardedHook(broken).handles(request(config_map()))


def test_a_decorated_hook_is_asked_for_its_kinds_and_operations_only() -> None:
    plugin = hook(set_x, kinds=["ConfigMap"], operations=["CREATE"])
    assert plugin.handles(request(config_map()))
    assert not plugin.handles(request(config_map(), old=config_map()))
    assert not plugin.handles(request(None, old=config_map()))
    assert not plugin.handles(request(namespaced("Secret", "s")))
    assert not plugin.handles(request(config_map(), subresource="status"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"timeout_s": 0}, id="no time"),
        pytest.param({"timeout_s": 31}, id="too much time"),
        pytest.param({"operations": ["WATCH"]}, id="an unknown operation"),
        pytest.param({"failure_policy": "Panic"}, id="an unknown policy"),
    ],
)
def test_a_decorator_checks_its_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the messages differ
        mutating(**options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("no_such_module:x", "ModuleNotFoundError", id="no such module"),
        pytest.param("json:nothing", "AttributeError", id="no such name"),
        pytest.param("json:dumps", "the plugin lacks", id="no plugin"),
    ],
)
def test_a_hook_that_cannot_be_loaded_stops_the_start(value: str, message: str) -> None:
    point = EntryPoint("mine", value, "kubraft.admission")
    if value == "json:dumps":
        point = EntryPoint("mine", "builtins:id", "kubraft.admission")
    with pytest.raises(HookError) as failure:
        load_hooks(context(MemoryCluster()), [point])
    assert str(failure.value).startswith(f"admission hook mine ({point.value}): ")
    assert message in str(failure.value)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip as a user would install it."""
    make = tmp_path_factory.mktemp
    return install_example(EXAMPLE, make("site"), make("tmp"))


def deployment(**labels: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels},
        "spec": {"template": {"spec": {"containers": []}}},
    }


async def test_the_example_of_the_documentation_works_once_installed(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    found = [
        point
        for distribution in distributions(path=[str(installed)])
        for point in distribution.entry_points.select(group="kubraft.admission")
    ]
    namespace = cluster_scoped("Namespace", "shop", metadata={"labels": {"team": "tills"}})
    cluster = MemoryCluster(namespace)
    hooks = load_hooks(context(cluster), found)
    assert [plugin.name for plugin in hooks] == ["inherit_team", "require-team"]
    chain = build_chain(context(cluster), Authorizer(cluster), hooks)

    async def labels_after(deployment: Object) -> list[dict[str, str]]:
        asked = request(deployment)
        await chain.mutate(asked)
        await chain.validate(asked)
        assert asked.obj is not None
        template = asked.obj["spec"]["template"].get("metadata", {})
        return [asked.obj["metadata"]["labels"], template.get("labels")]

    assert await labels_after(deployment()) == [{"team": "tills"}] * 2
    assert await labels_after(deployment(team="own")) == [{"team": "own"}] * 2
    cluster.put({**namespace, "metadata": {"name": "shop"}})
    with pytest.raises(ApiError) as refusal:
        await labels_after(deployment())
    assert refusal.value.message == (
        'deployments.apps "web" is forbidden: it needs the label "team", or its namespace does'
    )
