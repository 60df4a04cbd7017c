from __future__ import annotations

import pytest

from agents.controllers.options import Options, options_of, parser
from agents.controllers.table import CONTROLLERS, enabled

SERVER = "--server=127.0.0.1:1"


def test_the_defaults_are_those_of_the_options() -> None:
    assert options_of(parser().parse_args([SERVER])) == Options()


def test_flags_reach_the_options() -> None:
    given = parser().parse_args(
        [
            SERVER,
            "--node-monitor-period=500ms",
            "--node-monitor-grace-period=1m",
            "--pod-eviction-timeout=20s",
            "--node-eviction-rate=2",
            "--concurrent-deployment-syncs=7",
            "--terminated-pod-gc-threshold=0",
        ]
    )
    options = options_of(given)
    assert options.node_monitor_period_s == 0.5
    assert options.node_monitor_grace_s == 60
    assert options.pod_gc_rules.unreachable_s == 20
    assert options.pod_gc_rules.terminated_threshold == 0
    assert options.limits.node_eviction_rate == 2
    assert options.concurrent_deployment_syncs == 7


@pytest.mark.parametrize(
    ("flag", "deployments", "others"),
    [
        ("*", True, True),
        ("*,-deployment-controller", False, True),
        ("deployment-controller", True, False),
        ("deployment-controller,-*", True, False),
    ],
)
def test_controllers_are_chosen_by_name(flag: str, deployments: bool, others: bool) -> None:
    options = options_of(parser().parse_args([SERVER, f"--controllers={flag}"]))
    chosen = enabled(options)
    for row in CONTROLLERS:
        if not row.has_work(options):
            assert row not in chosen
            continue
        expected = deployments if row.name == "deployment-controller" else others
        assert (row in chosen) is expected


def test_a_controller_that_there_is_not_is_told() -> None:
    options = options_of(parser().parse_args([SERVER, "--controllers=*,-deploy"]))
    with pytest.raises(ValueError, match="--controllers: there is no controller '-deploy'"):
        enabled(options)


def test_every_controller_has_a_name_of_its_own() -> None:
    names = [row.name for row in CONTROLLERS]
    assert len(names) == len(set(names))
