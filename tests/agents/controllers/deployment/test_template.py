from __future__ import annotations

import re
from typing import Any

import pytest

from agents.controllers.deployment.template import labelled, same_template, template_hash
from tests.agents.controllers.objects import deployment

TEMPLATE: dict[str, Any] = deployment()["spec"]["template"]


def test_the_hash_is_the_same_everywhere_and_fits_a_label() -> None:
    hash_ = template_hash(TEMPLATE, None)
    assert hash_ == "794686fc5b"  # fixed: a release that changes it would roll every Deployment
    assert re.fullmatch(r"[bcdfghjklmnpqrstvwxz2456789]{1,10}", hash_)


def test_a_collision_gives_another_hash() -> None:
    assert len({template_hash(TEMPLATE, count) for count in (None, 0, 1, 2)}) == 4


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"metadata": {"labels": {"app": "web"}, "annotations": {}}}, True, id="empty"),
        pytest.param(
            {"metadata": {"labels": {"app": "web"}, "creationTimestamp": None}}, True, id="null"
        ),
        pytest.param({"metadata": {"labels": {"app": "db"}}}, False, id="another label"),
        pytest.param({"spec": {"containers": []}}, False, id="another spec"),
    ],
)
def test_templates_that_mean_the_same_are_the_same(change: dict[str, Any], same: bool) -> None:
    assert same_template(TEMPLATE, {**TEMPLATE, **change}) is same


def test_the_hash_label_does_not_count() -> None:
    assert same_template(TEMPLATE, labelled(TEMPLATE, "abc"))
    assert TEMPLATE["metadata"]["labels"] == {"app": "web"}
