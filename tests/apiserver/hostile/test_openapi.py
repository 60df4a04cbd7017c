"""Our own OpenAPI document, turned against us by schemathesis: every answer is one it knows.

Each run asks some of the operations a few things, always the same. KUBRAFT_FUZZ_SECONDS=600 asks
all of them other things for so long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.apiserver.hostile.budget import SECONDS
from tests.apiserver.hostile.in_memory import Front, Recorded, asking, check_answer

# Every so many operations of a document are asked in a run of the whole suite.
STRIDE = 11
EXAMPLES = 4
# On a busy machine less is asked; what is left out was asked in a quieter run.
SECONDS_MAX = 25.0
DOCUMENTS = (
    *("api/v1", "apis/apps/v1", "apis/batch/v1", "apis/rbac.authorization.k8s.io/v1"),
    *("apis/apiextensions.k8s.io/v1", "apis/autoscaling/v2", "apis/networking.k8s.io/v1"),
    *("apis/admissionregistration.k8s.io/v1", "apis/flowcontrol.apiserver.k8s.io/v1"),
    *("apis/authorization.k8s.io/v1", "apis/certificates.k8s.io/v1", "apis/policy/v1"),
)


class Asker:
    """Asks a server in this thread, one request at a time."""

    def __init__(self, runner: asyncio.Runner, front: Front) -> None:
        self._runner = runner
        self._front = front

    def ask(self, method: str, path: str, body: Any, kind: str = "application/json") -> Recorded:
        return self._runner.run(self._front.ask(method, path, body, kind=kind))

    def document(self, place: str) -> Any:
        return orjson.loads(self.ask("GET", f"/openapi/v3/{place}", None).sent)


@contextmanager
def asker(folder: Path, pki: Path) -> Iterator[Asker]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        front = runner.run(stack.enter_async_context(asking(folder, pki)))
        try:
            yield Asker(runner, front)
        finally:
            runner.run(stack.aclose())


def operations(document: Any, stride: int, first: int) -> list[Any]:
    schema = schemathesis.openapi.from_dict(document)
    found = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]
    return found[first::stride]


def check(case: Any, found: Recorded, documented: dict[str, Any]) -> None:
    check_answer(found)
    if found.status < 400:
        assert str(found.status) in documented, (found.status, case.operation.label)
        if found.answered["content-type"] == "application/json":
            assert found.json()["kind"]


def path_of(case: Any) -> str:
    path = case.operation.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    # A watch would go on until somebody ends it.
    asked = [(k, v) for k, v in (case.query or {}).items() if k not in ("watch", "follow")]
    query = urlencode(asked, doseq=True, errors="replace")
    return f"{path}?{query}" if query else path


def body_of(case: Any) -> Any:
    return case.body if isinstance(case.body, (dict, list, str, int, float, bytes)) else None


def ask_all(asker: Asker, operation: Any, number: int) -> None:
    """Raises AssertionError: an answer is none of those that are documented."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def run(case: Any) -> None:
        kind = case.media_type or "application/json"
        found = asker.ask(case.method.upper(), path_of(case), body_of(case), kind)
        check(case, found, operation.definition.raw["responses"])

    run()


@pytest.mark.timeout(120 + SECONDS)
def test_every_answer_is_one_that_the_document_knows(tmp_path: Path, pki: Path) -> None:
    with asker(tmp_path, pki) as made:
        ends = time.monotonic() + SECONDS_MAX
        for place in DOCUMENTS:
            for operation in operations(made.document(place), STRIDE, 0):
                if time.monotonic() < ends:
                    ask_all(made, operation, 1)
        ends, number = time.monotonic() + SECONDS, time.time_ns() % 10**9
        while time.monotonic() < ends:
            for place in DOCUMENTS:
                for operation in operations(made.document(place), STRIDE, number % STRIDE):
                    if time.monotonic() < ends:
                        ask_all(made, operation, number)
            number += 1
