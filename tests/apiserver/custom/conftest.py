"""An HTTPS server, as for all other resources, and definitions that are established."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.conditions import is_true
from kubraft.api.object import Object
from tests.apiserver.custom.definitions import definition, eventually
from tests.apiserver.rest.conftest import Rest, rest

__all__ = ["rest"]

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS = "/apis/stable.example.com/v1/namespaces/default/crontabs"


async def establish(rest: Rest, made: Object) -> Object:
    answer = await rest.ask("POST", DEFINITIONS, made)
    assert answer.status == 201, answer.body
    path = f"{DEFINITIONS}/{made['metadata']['name']}"

    async def established() -> Any:
        found = (await rest.ask("GET", path)).json()
        return is_true(found, "Established") and found

    found: Object = await eventually(established)
    return found


@pytest.fixture
async def cron(rest: Rest) -> Rest:
    """A server that has CronTabs."""
    await establish(rest, definition())
    return rest
