from typing import Any

import pytest

from kubraft.api.object import Object
from kubraft.cli.rollout_state import (
    REVISION,
    Progress,
    RolloutError,
    history,
    progress,
    replica_sets_of,
    template_of,
)


def deployment(wanted: int = 3, observed: int = 2, **status: Any) -> Object:
    return {
        "metadata": {
            "name": "web", "uid": "u", "generation": 2, "annotations": {REVISION: "3"}
        },
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": observed, **status},
    }  # fmt: skip


WAIT = 'Waiting for deployment "web" rollout to finish: '


@pytest.mark.parametrize(
    ("found", "message", "done"),
    [
        pytest.param(
            deployment(observed=1), "Waiting for deployment spec update to be observed...", False,
            id="not seen yet",
        ),
        pytest.param(
            deployment(updatedReplicas=1), f"{WAIT}1 out of 3 new replicas have been updated...",
            False, id="updating",
        ),
        pytest.param(
            deployment(updatedReplicas=3, replicas=4),
            f"{WAIT}1 old replicas are pending termination...", False, id="old ones left",
        ),
        pytest.param(
            deployment(updatedReplicas=3, replicas=3, availableReplicas=2),
            f"{WAIT}2 of 3 updated replicas are available...", False, id="not all available",
        ),
        pytest.param(
            deployment(updatedReplicas=3, replicas=3, availableReplicas=3),
            'deployment "web" successfully rolled out', True, id="over",
        ),
        pytest.param(
            deployment(wanted=0), 'deployment "web" successfully rolled out', True,
            id="none wanted",
        ),
    ],
)  # fmt: skip
def test_a_rollout_says_how_far_it_is(found: Object, message: str, done: bool) -> None:
    assert progress(found) == Progress(message, done)


def test_a_rollout_that_is_past_its_deadline_or_replaced_fails() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    with pytest.raises(RolloutError, match='"web" exceeded its progress deadline'):
        progress(deployment(conditions=[late]))
    with pytest.raises(RolloutError, match=r"desired revision \(2\) is different from .*\(3\)"):
        progress(deployment(), revision=2)


def replica_set(name: str, revision: str, owner: str = "u") -> Object:
    return {
        "metadata": {
            "name": name,
            "annotations": {REVISION: revision} if revision else {},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"template": {"metadata": {"labels": {"app": "web", "pod-template-hash": name}}}},
    }


def test_history_has_the_revisions_of_this_deployment_in_order() -> None:
    sets = [
        replica_set("b", "10"),
        replica_set("a", "2"),
        replica_set("x", "7", owner="other"),
        replica_set("n", ""),
    ]
    assert list(history(deployment(), sets)) == [2, 10]
    names = [rs["metadata"]["name"] for rs in replica_sets_of(deployment(), sets)]
    assert names == ["b", "a", "n"]


def test_a_template_comes_without_the_hash() -> None:
    found = replica_set("a", "1")
    assert template_of(found) == {"metadata": {"labels": {"app": "web"}}}
    assert "pod-template-hash" in found["spec"]["template"]["metadata"]["labels"]
