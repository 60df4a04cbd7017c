"""Pods that are refused."""

from __future__ import annotations

import pytest

from kubraft.api.errors import InvalidError
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from tests.apiserver.harness import Bench, pod
from tests.apiserver.registry.refusals import refusals


@pytest.mark.parametrize(("_kind", "change", "message"), refusals("pods.txt"))
async def test_a_pod_that_breaks_a_rule_is_refused_in_upstreams_words(
    bench: Bench, _kind: str, change: Object, message: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        await bench.create(merge_patch(pod(), change))
    assert caught.value.message.partition(" is invalid: ")[2] == message
