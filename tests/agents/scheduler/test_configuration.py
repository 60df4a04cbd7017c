"""KubeSchedulerConfiguration files: what is asked when, with which arguments."""

from random import Random
from typing import Any

import pytest

from agents.scheduler import registry
from agents.scheduler.algorithm import schedule
from agents.scheduler.configuration import API_VERSION, Configuration, configuration
from agents.scheduler.handle import Handle
from agents.scheduler.plugins.queueing import PrioritySort
from agents.scheduler.profile import Profile
from agents.scheduler.registry import DEFAULT_WEIGHTS, PluginError, profiles
from tests.agents.scheduler.world import cluster, decide, idle_handle, info, node, pod

DEFAULTS = tuple(DEFAULT_WEIGHTS.items())


def read(*written: dict[str, Any], **more: Any) -> Configuration:
    kind = {"apiVersion": API_VERSION, "kind": "KubeSchedulerConfiguration"}
    return configuration({**kind, "profiles": list(written), **more}, DEFAULTS)


def made(plugins: dict[str, Any], *config: dict[str, Any], handle: Handle | None = None) -> Profile:
    wanted = read({"plugins": plugins, "pluginConfig": list(config)}).profiles
    return profiles(wanted, handle or idle_handle())[0]


def enabled(*names: str, weight: int = 0) -> list[dict[str, Any]]:
    return [{"name": name, "weight": weight} for name in names]


def filters(profile: Profile) -> list[str]:
    return [plugin.name for plugin in profile.filters]


def weights(profile: Profile) -> dict[str, float]:
    return {each.plugin.name: each.weight for each in profile.scores}


def test_nothing_said_is_upstreams_default() -> None:
    assert weights(made({})) == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


def test_disabled_everywhere_or_at_one_point() -> None:
    profile = made({"multiPoint": {"disabled": [{"name": "TaintToleration"}]}})
    assert "TaintToleration" not in {**weights(profile), **dict.fromkeys(filters(profile))}
    profile = made({"score": {"disabled": [{"name": "TaintToleration"}]}})
    assert "TaintToleration" not in weights(profile)
    assert "TaintToleration" in filters(profile)


def test_only_what_is_named() -> None:
    profile = made(
        {
            "multiPoint": {"disabled": [{"name": "*"}], "enabled": enabled("PrioritySort")},
            "filter": {"enabled": enabled("NodeName")},
            "preFilter": {"enabled": enabled("NodeName")},
        }
    )
    assert filters(profile) == ["NodeName"]
    assert weights(profile) == {}


def test_weights_and_order() -> None:
    profile = made(
        {
            "multiPoint": {"enabled": enabled("NodeAffinity", weight=7)},
            "score": {"enabled": enabled("ImageLocality", weight=9)},
        }
    )
    assert weights(profile)["NodeAffinity"] == 7
    assert next(iter(weights(profile).items())) == ("ImageLocality", 9)
    assert filters(profile) == filters(made({}))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        pytest.param({"type": "LeastAllocated"}, "empty", id="spread out"),
        pytest.param({"type": "MostAllocated"}, "full", id="packed"),
        pytest.param(
            {
                "type": "RequestedToCapacityRatio",
                "requestedToCapacityRatio": {
                    "shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
                },
            },
            "full",
            id="by a shape",
        ),
    ],
)
def test_how_nodes_are_filled(strategy: dict[str, Any], expected: str) -> None:
    profile = made(
        {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}},
        {"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}},
    )
    where = cluster(node("empty"), node("full"), pod("x", cpu="2", memory="4Gi", on="full"))
    assert decide(where, pod(cpu="1", memory="1Gi"), profile=profile).node_name == expected


def test_default_constraints_may_be_hard() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
    }
    args = {"defaultingType": "List", "defaultConstraints": [constraint]}
    profile = made({}, {"name": "PodTopologySpread", "args": args})
    where = cluster(node("a"), node("b", unschedulable=True), pod("x", on="a", owner="rs"))
    assert not decide(where, pod(owner="rs"), profile=profile).node_name
    assert decide(where, pod(owner="other"), profile=profile).node_name == "a"


def test_a_resource_may_be_ignored() -> None:
    args = {"ignoredResourceGroups": ["example.com"]}
    profile = made({}, {"name": "NodeResourcesFit", "args": args})
    wanted = pod(extended={"example.com/gpu": "1"})
    assert decide(cluster(node("a")), wanted, profile=profile).node_name == "a"


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        pytest.param({"kind": "Pod", "apiVersion": "v1"}, "no kind", id="something else"),
        pytest.param(
            {"profiles": [{"schedulerNam": "x"}]}, 'unknown field "profiles[0].schedulerNam"',
            id="a field's name is misspelt",
        ),
        pytest.param({"profiles": [{}, {}]}, "Duplicate value", id="two of one name"),
        pytest.param({"percentageOfNodesToScore": 101}, "not in valid range [0-100]", id="percent"),
        pytest.param(
            {"podInitialBackoffSeconds": 5, "podMaxBackoffSeconds": 1}, "podMaxBackoffSeconds",
            id="back-off",
        ),
        pytest.param({"extenders": []}, "extenders: not supported", id="extenders"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_line(given: dict[str, Any], cause: str) -> None:
    kind = {"apiVersion": API_VERSION, "kind": "KubeSchedulerConfiguration"}
    with pytest.raises(ValueError, match="^[^\n]+$") as failure:
        configuration({**kind, **given}, DEFAULTS)
    assert cause in str(failure.value)


@pytest.mark.parametrize(
    ("plugins", "config", "cause"),
    [
        pytest.param(
            {"score": {"enabled": enabled("Mine")}}, [], "plugin Mine: no such plugin", id="unknown"
        ),
        pytest.param(
            {"queueSort": {"disabled": [{"name": "*"}]}}, [], "exactly one queue sort", id="no sort"
        ),
        pytest.param({}, [{"name": "Mine", "args": {}}], "enabled nowhere", id="arguments of none"),
        pytest.param(
            {},
            [{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 101}}],
            "plugin InterPodAffinity: hardPodAffinityWeight: not in valid range [0-100]",
            id="wrong argument",
        ),
        pytest.param(
            {},
            [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "Best"}}}],
            'plugin NodeResourcesFit: scoringStrategy.type: Unsupported value: "Best"',
            id="no such strategy",
        ),
    ],
)
def test_plugins_that_cannot_be_made_are_named(
    plugins: dict[str, Any], config: list[dict[str, Any]], cause: str
) -> None:
    with pytest.raises(ValueError, match="^[^\n]+$") as failure:
        made(plugins, *config)
    assert cause in str(failure.value)
    assert isinstance(failure.value, PluginError) or "queue sort" in cause


def test_all_profiles_sort_the_queue_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(PrioritySort):
        """Another order."""

    monkeypatch.setitem(registry.PLUGINS, "Mine", lambda _args, _handle: Mine())
    sort = {"disabled": [{"name": "*"}], "enabled": enabled("Mine")}
    wanted = read({}, {"schedulerName": "other", "plugins": {"queueSort": sort}}).profiles
    with pytest.raises(ValueError, match="different queue sort plugins"):
        profiles(wanted, idle_handle())
    assert len(profiles(read({}, {"schedulerName": "other"}).profiles, idle_handle())) == 2


def test_fewer_nodes_may_be_compared() -> None:
    (wanted,) = read({"percentageOfNodesToScore": 20}, percentageOfNodesToScore=50).profiles
    (profile,) = profiles([wanted], idle_handle())
    where = cluster(*(node(f"n{index}") for index in range(1000)))
    decision = schedule(profile, where.snapshot(), info(), rng=Random(1))
    assert decision.feasible_count == 200
