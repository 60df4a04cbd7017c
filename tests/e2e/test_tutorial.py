"""Every line of the tutorial runs as it stands, one after another, and shows what the page says.

What differs from run to run is compared by its shape: endings of names, addresses, ages, numbers of
more than one digit. All else must be as printed: statuses, counts of replicas, restarts, failures.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.test_readme import in_test_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
# Commands that only look may be repeated until they show it: the cluster needs a moment.
LOOKS = ("kubectl get ", "kubectl describe ", "kubectl logs ", "curl ", "sleep ")
PATIENCE_S = 40.0
OF_THE_RUN = {"make up", "make status"}  # what these tell is not the same twice
LEFT_OUT = "..."
VARIES = (  # in a word: what, and its shape
    (r"\d+(\\\.\d+){3}", r"\\d+(\\.\\d+){3}"),  # addresses
    (r"(\d+[dhms]){1,2}", r"(\\d+[dhms]){1,2}"),  # ages
    (r"hello\\-[0-9a-z]{8,10}", r"hello-[0-9a-z]{8,10}"),  # ReplicaSets
    (r"hello\\-[0-9a-z]{8,10}\\-[0-9a-z]{5}", r"hello-[0-9a-z]{8,10}-[0-9a-z]{5}"),
    (r"hello\\-[0-9a-z]{5}", r"hello-[0-9a-z]{5}"),  # EndpointSlices
    (r"squares\\-(\d)\\-[0-9a-z]{5}", r"squares-\1-[0-9a-z]{5}"),
    (r"node\\-\d", r"node-\\d"),
    (r"store\\-\d", r"store-\\d"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, and the lines that it shows."""

    command: str
    shown: tuple[str, ...]

    @property
    def fails(self) -> bool:
        return any(line.startswith(("error:", "Error ")) for line in self.shown)


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            found.append(Step(command, tuple(shown)))
    return found


def shape(line: str) -> re.Pattern[str]:
    """What a line like this one looks like."""
    return re.compile(r"\s+".join(_shape_of_word(word) for word in line.split()) or r"")


def _shape_of_word(word: str) -> str:
    parts = re.split(r"([,/:()\[\]])", word)
    return "".join(_shape_of_part(part) for part in parts)


def _shape_of_part(part: str) -> str:
    escaped = re.escape(part)
    for pattern, result in VARIES:
        if re.fullmatch(pattern, escaped):
            return re.sub(pattern, result, escaped)
    return re.sub(r"\d+\\\.\d|\d{2,}", lambda found: r"[\d.]+", escaped)


def differences(shown: tuple[str, ...], written: str) -> list[str]:
    """What the page shows and the command does not write, and the other way round.

    In any order: names decide that of most lists.
    """
    wanted = [(line, shape(line)) for line in shown if line and line != LEFT_OUT]
    strange: list[str] = []
    for line in filter(None, map(str.strip, written.splitlines())):
        found = next((pair for pair in wanted if pair[1].fullmatch(line)), None)
        if found is not None:
            wanted.remove(found)
        elif LEFT_OUT not in shown:
            strange.append(f"not on the page: {line}")
    return [f"not written: {line}" for line, _ in wanted] + strange


class Reader:
    """Does what the page says, in one cluster; its own kubeconfig remembers the namespace."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster = cluster
        self._kubeconfig = directory / "kubeconfig"
        self._kubeconfig.write_text((cluster.home.path / "admin.kubeconfig").read_text())
        self._kubeconfig.chmod(0o600)
        kubraft = directory / "kubraft"
        kubraft.write_text(
            '#!/bin/sh\nexec python -c "from kubraft.cli import main; main()" "$@"\n'
        )
        kubraft.chmod(0o700)
        self._environment = {
            **cluster.environment,
            "KUBECONFIG": str(self._kubeconfig),
            "PATH": f"{directory}:{cluster.environment['PATH']}",
        }
        # The page kills the leader, and calls it store-0.
        leader = cluster.leader()
        self._names = {"store-0": leader, leader: "store-0"}

    def run(self, step: Step) -> None:
        """Raises AssertionError where it shows something else than the page."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            status, written = self._written(step.command)
            differs = [] if step.command in OF_THE_RUN else differences(step.shown, written)
            if (status != 0) == step.fails and not differs:
                return
            may_repeat = step.command.startswith(LOOKS) and time.monotonic() < deadline_s
            assert may_repeat, f"$ {step.command}\n{written}\n" + "\n".join(differs)
            time.sleep(0.3)

    def _written(self, command: str) -> tuple[int, str]:
        command = re.sub(r"store-\d", self._named, in_test_cluster(command, self._cluster))
        # Pods of other tests are none of the reader's.
        command = command.replace("drain node-1", "drain node-1 --pod-selector=app=hello")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, re.sub(r"store-\d", self._named, done.stdout)

    def _named(self, found: re.Match[str]) -> str:
        return self._names.get(found[0], found[0])


@pytest.mark.timeout(300)
def test_every_line_of_the_tutorial_shows_what_the_page_says(
    cluster: Cluster, tmp_path: Path
) -> None:
    reader = Reader(cluster, tmp_path)
    for step in steps(PAGE):
        if not step.command.startswith("export "):
            reader.run(step)


@pytest.mark.parametrize(
    ("shown", "written", "same"),
    [
        ("20 asked, 0 failed", "170 asked, 0 failed", True),
        ("20 asked, 0 failed", "170 asked, 1 failed", False),
        ("hello   3/3     3   1s", "hello 3/3 3 1m12s", True),
        ("hello   3/3     3   1s", "hello 2/3 3 1s", False),
        ("hello-54c789c589-488t8   1/1", "hello-85b66f75c5-fglcg 1/1", True),
        ("pod/hello-54c789c589-488t8  a", "pod/hello-85b66f75c5-fglcg a", True),
        ("hello   127.136.0.5,127.136.1.3", "hello 127.64.0.25,127.64.1.3", True),
        ("hello   127.136.0.5,127.136.1.3", "hello 127.64.0.25", False),
        ("store-0   ready after 1.3 s", "store-0  ready after 10.4 s", True),
        ("8000:31242/TCP", "8000:30001/TCP", True),
        (
            "[pod/squares-3-x66rl/square] is 9",
            "[pod/squares-3-aaaaa/square] is 9",
            True,
        ),
        (
            "[pod/squares-3-x66rl/square] is 9",
            "[pod/squares-2-aaaaa/square] is 9",
            False,
        ),
    ],
)
def test_what_counts_as_the_same(shown: str, written: str, same: bool) -> None:
    assert (differences((shown,), written) == []) is same


def test_lines_left_out_may_be_any() -> None:
    assert differences(("a", "...", "b"), "a\nx\nb") == []
    assert differences(("a", "b"), "a\nx\nb") == ["not on the page: x"]
    assert differences(("a", "...", "b"), "a\nx") == ["not written: b"]
