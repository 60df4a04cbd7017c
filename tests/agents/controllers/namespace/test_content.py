from __future__ import annotations

from agents.controllers.namespace.content import Content, conditions, finalized
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


def test_only_our_finalizer_is_taken_away() -> None:
    namespace = {"metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes", "other"]}}
    assert finalized(namespace)["spec"]["finalizers"] == ["other"]
