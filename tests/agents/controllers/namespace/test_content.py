from __future__ import annotations

import pytest

from agents.controllers.namespace.content import Content, conditions, finalized, undiscovered
from kubraft.api.object import Object
from tests.agents.controllers.objects import NOW, pod


def test_what_remains_is_told_by_kind_and_finalizer() -> None:
    content = Content()
    held = pod("held")
    held["metadata"]["finalizers"] = ["example.com/backup"]
    content.add("pods.", [held, pod("other")])
    content.add("deployments.apps", [])
    told = {
        c["type"]: (c["status"], c["reason"], c["message"]) for c in conditions([], content, NOW)
    }
    assert told["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 2 resource instances",
    )
    assert told["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        (
            "Some content in the namespace has finalizers remaining: example.com/backup in "
            "1 resource instances"
        ),
    )
    assert told["NamespaceDeletionContentFailure"][0] == "False"
    assert not content.is_gone()


def test_a_kind_that_cannot_be_listed_keeps_the_namespace() -> None:
    content = Content(failures=["widgets.example.com: no answer"])
    assert not content.is_gone()
    told = {c["type"]: c["status"] for c in conditions([], content, NOW)}
    assert told["NamespaceDeletionContentFailure"] == "True"
    assert told["NamespaceContentRemaining"] == "False"
    assert Content().is_gone()


def api_service(available: str) -> Object:
    return {
        "spec": {"group": "wardle.example.com", "version": "v1", "service": {"name": "wardle"}},
        "status": {"conditions": [{"type": "Available", "status": available}]},
    }


@pytest.mark.parametrize(
    ("available", "known", "said"),
    [
        pytest.param("True", ["v1", "wardle.example.com/v1"], [], id="known"),
        pytest.param(
            "False",
            ["v1", "wardle.example.com/v1"],
            ["wardle.example.com/v1: the server is currently unable to handle the request"],
            id="away",
        ),
        pytest.param(
            "True",
            ["v1"],
            ["wardle.example.com/v1: stale GroupVersion discovery: wardle.example.com/v1"],
            id="not-asked-yet",
        ),
    ],
)
def test_what_another_server_has_must_be_known(
    available: str, known: list[str], said: list[str]
) -> None:
    own = {"spec": {"group": "apps", "version": "v1"}}
    content = Content(undiscovered=undiscovered([own, api_service(available)], known))
    assert content.undiscovered == said
    assert content.is_gone() == (not said)
    (told,) = [
        c for c in conditions([], content, NOW) if c["type"] == "NamespaceDeletionDiscoveryFailure"
    ]
    assert told["status"] == ("True" if said else "False")
    assert told["reason"] == ("DiscoveryFailed" if said else "ResourcesDiscovered")


def test_only_our_finalizer_is_taken_away() -> None:
    namespace = {"metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes", "other"]}}
    assert finalized(namespace)["spec"]["finalizers"] == ["other"]
