"""From the text of nodes to usage: what makes a rate, and what does not."""

from __future__ import annotations

import pytest

from agents.metrics.samples import PodKey, Point, Scrape, parse
from agents.metrics.storage import Storage, usage
from agents.node.resource_metrics import exposition
from agents.node.usage import ContainerUsage, Measured, NodeUsage, PodUsage

KEY = PodKey("default", "p")


def measured(at_s: float, cpu_s: float, memory: int = 1000) -> Measured:
    return Measured(round(at_s * 1e9), round(cpu_s * 1e9), memory)


def test_what_an_agent_writes_is_read() -> None:
    container = ContainerUsage("c", "id", "2026-01-01T00:00:00Z", measured(1_800_000_000, 1.5, 7))
    pod = PodUsage("default", "p", "u", "", measured(1_800_000_000, 2.5, 9), (container,))
    node = NodeUsage(measured(1_800_000_000, 99.25, 2**40), 0, 0.0, (pod,))
    text = exposition(node).decode()
    assert (
        'container_cpu_usage_seconds_total{container="c",namespace="default",pod="p"} 1.5 '
        "1800000000000\n"
    ) in text
    assert "# TYPE pod_memory_working_set_bytes gauge\n" in text
    found = parse(text)
    assert found.node == Point(1_800_000_000, 99.25, 2**40)
    started_s = 1_767_225_600
    assert found.pods == {KEY: {"c": Point(1_800_000_000, 1.5, 7, started_s)}}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("\0\xff{{{\nnode_\ncontainer_cpu\n", id="nonsense"),
        pytest.param("node_cpu_usage_seconds_total 1 1000\n", id="no-memory"),
        pytest.param('container_cpu_usage_seconds_total{pod="a"} 1 5\n', id="half-a-container"),
    ],
)
def test_what_is_not_whole_is_left_out(text: str) -> None:
    assert parse(text) == Scrape(None)


def test_a_pod_is_left_out_where_one_container_is_not_whole() -> None:
    lines = []
    for name in ("a", "b"):
        labels = f'{{container="{name}",namespace="n",pod="p"}}'
        lines.append(f"container_cpu_usage_seconds_total{labels} 1 1000")
        if name == "a":
            lines.append(f"container_memory_working_set_bytes{labels} 1 1000")
    assert parse("\n".join(lines)).pods == {}


@pytest.mark.parametrize(
    ("last", "before", "cpu_nano"),
    [
        pytest.param(Point(20, 3, 5), Point(10, 1, 4), 200_000_000, id="rate"),
        pytest.param(Point(20, 1, 5), Point(10, 1, 4), 0, id="idle"),
        pytest.param(Point(10, 1, 5), Point(10, 1, 4), None, id="same-moment"),
        pytest.param(Point(20, 1, 5), Point(10, 3, 4), None, id="counter-fell"),
    ],
)
def test_usage_lies_between_two_points(last: Point, before: Point, cpu_nano: int | None) -> None:
    found = usage(last, before)
    assert (found.cpu_nano if found else None) == cpu_nano
    assert found is None or found.memory_bytes == 5


def scrape(at_s: float, cpu_s: float, started_s: float = 0.0) -> Scrape:
    return Scrape(Point(at_s, cpu_s, 1), {KEY: {"c": Point(at_s, cpu_s, 1, started_s)}})


def test_two_rounds_make_usage() -> None:
    storage = Storage(15)
    storage.store("n", scrape(1000, 10))
    assert storage.node("n") is None
    assert storage.pod(KEY) is None
    storage.store("n", scrape(1015, 13))
    found = storage.pod(KEY)
    assert found is not None
    assert found["c"].cpu_nano == 200_000_000
    assert found["c"].window_s == 15
    node = storage.node("n")
    assert node is not None
    assert node.cpu_nano == 200_000_000
    # A node that says the same again changes nothing.
    storage.store("n", scrape(1015, 13))
    assert storage.node("n") == node


def test_a_restart_begins_anew() -> None:
    storage = Storage(15)
    storage.store("n", scrape(1000, 10, 500))
    storage.store("n", scrape(1015, 1, 1010))
    assert storage.pod(KEY) is None
    storage.store("n", scrape(1030, 2.5, 1010))
    found = storage.pod(KEY)
    assert found is not None
    assert found["c"].cpu_nano == 100_000_000


def test_a_young_container_has_a_rate_since_its_beginning() -> None:
    storage = Storage(15)
    storage.store("n", scrape(1000, 6, 988))
    found = storage.pod(KEY)
    assert found is not None
    assert (found["c"].cpu_nano, found["c"].window_s) == (500_000_000, 12)
    younger = Storage(15)
    younger.store("n", scrape(1000, 4, 996))
    assert younger.pod(KEY) is None


def test_what_is_gone_is_forgotten() -> None:
    storage = Storage(15)
    for at_s in (1000, 1015):
        storage.store("n", scrape(at_s, 10))
    storage.store("n", Scrape(Point(1030, 10, 1), {}))
    assert storage.pod(KEY) is None
    for at_s in (1045, 1060):
        storage.store("n", scrape(at_s, 10))
    assert storage.pod(KEY) is not None
    storage.keep_only({})
    assert storage.pod(KEY) is None
    assert storage.node("n") is None
