"""A rolling update keeps its bounds whatever the order of events, and comes to its end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.deployment.strategy import bounds_of
from tests.agents.controllers.deployment.world import World
from tests.agents.controllers.objects import deployment, with_image

shares = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda n: f"{n}%"))
moves = st.lists(
    st.tuples(
        st.sampled_from(["step", "run", "ready", "report", "observe", "edit", "fail"]),
        st.integers(0, 5),
    ),
    max_size=80,
)


def check_bounds(world: World, *, failing: bool) -> None:
    bounds = bounds_of(world.deployment)
    assert world.wanted <= bounds.pods_max
    # Pods that fail by themselves are nobody's choice.
    assert failing or world.ready >= bounds.available_min


@given(
    replicas=st.integers(0, 8),
    surge=shares,
    unavailable=shares,
    script=moves,
    failing=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_surge_and_availability_hold_and_the_roll_out_ends(
    replicas: int,
    surge: int | str,
    unavailable: int | str,
    script: list[tuple[str, int]],
    failing: bool,
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    world = World(deployment(replicas=replicas, strategy={"rollingUpdate": rolling}))
    world.settle()
    edits = 0
    for move, number in script:
        uids = list(world.replica_sets)
        uid = uids[number % len(uids)]
        match move:
            case "step":
                world.step()
            case "run":
                world.run_replica_set(uid)
            case "ready":
                world.become_ready(uid, number)
            case "report":
                world.report(uid)
            case "observe":
                world.observe(uid)
            case "fail" if failing:
                world.fail(uid, number)
            case "edit" if edits < 3:
                edits += 1
                world.edit(with_image(world.deployment, f"web:{number}"))
        check_bounds(world, failing=failing)
    world.settle()
    image = world.deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert world.sizes()[image] == replicas
    assert world.wanted == world.ready == replicas


@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4), surge=shares, unavailable=shares)
@settings(max_examples=60, deadline=None)
def test_scaling_at_any_moment_ends_at_the_last_size(
    sizes: list[int], surge: int | str, unavailable: int | str
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    world = World(deployment(replicas=4, strategy={"rollingUpdate": rolling}))
    world.settle()
    for number, size in enumerate(sizes):
        changed = with_image(world.deployment, f"web:{number}")
        changed["spec"] = {**changed["spec"], "replicas": size}
        world.edit(changed)
        world.observe()
        world.step()
        world.observe()
    world.settle()
    assert world.wanted == world.ready == sizes[-1]
