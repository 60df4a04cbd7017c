"""`make bench-store`: the store beside the real etcd, as ratios.

Both run at the same time on the same disk, three members each, fsync on, plain `http://`, and take
turns under the same generator: only ratios of figures that were taken together mean something on a
machine that does other things too. A figure is the median of its rounds. Needs etcd and etcdctl
(`make tools` brings them), and is better with h2load (Debian: nghttp2-client).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from tests.bench import bench_store_age as age
from tests.bench import bench_store_load as load
from tests.bench import bench_store_watch as watch
from tests.bench.bench_store_load import Figure, median
from tests.e2e.store_cluster import StoreCluster

SECTIONS = ("check", "load", "watch", "age")
_CHECK_S = 150.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; what is not measured is 0."""

    name: str
    etcd: Figure
    ours: Figure
    # What the ratio of calls or events a second, or of latencies where `slower`, has to reach.
    bar: str = ""


Report = Callable[[Row], None]


class Pair:
    """Both clusters, running."""

    def __init__(self, etcd: StoreCluster, ours: StoreCluster) -> None:
        self.clusters = (etcd, ours)

    def compare(
        self, name: str, rounds: int, measure: Callable[[StoreCluster], Figure], bar: str = ""
    ) -> Row:
        """Measure by turns, and take medians."""
        taken: tuple[list[Figure], list[Figure]] = ([], [])
        for _ in range(rounds):
            for cluster, figures in zip(self.clusters, taken, strict=True):
                figures.append(measure(cluster))
        return Row(name, median(taken[0]), median(taken[1]), bar)


@contextmanager
def pair() -> Iterator[Pair]:
    """Start both clusters; nothing of them stays."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-etcd-") as there,
        tempfile.TemporaryDirectory(prefix="bench-kubraft-") as here,
        StoreCluster(Path(there), tls=False, etcd=True) as etcd,
        StoreCluster(Path(here), tls=False) as ours,
    ):
        for cluster in (etcd, ours):
            cluster.start()
        for cluster in (etcd, ours):
            cluster.wait_ready()
        yield Pair(etcd, ours)


def run_load(both: Pair, report: Report, options: argparse.Namespace) -> None:
    for cluster in both.clusters:
        load.prepare(cluster)
    bars = {
        "Put 256 B, 128 in flight": ">= 0.2",
        "Range linearizable, 128 over all members": ">= 0.1",
        "Put 256 B, 1 in flight": "p50 <= 2.0",
    }
    for case in load.cases():
        if not re.search(options.only, case.name):
            continue

        def measure(cluster: StoreCluster, case: load.Case = case) -> Figure:
            return load.measure(cluster, cluster.leader(), case, options.seconds)

        report(both.compare(case.name, options.rounds, measure, bars.get(case.name, "")))


def run_watch(both: Pair, report: Report, options: argparse.Namespace) -> None:
    for watchers, keys in ((watch.WATCHERS, 1), (1, watch.KEYS)):

        def measure(cluster: StoreCluster, watchers: int = watchers, keys: int = keys) -> Figure:
            return uvloop.run(watch.measure(cluster, watchers=watchers, keys=keys))

        name = f"Watch, {keys:,} key{'s' * (keys > 1)} to {watchers:,}, events"
        report(both.compare(name, options.rounds, measure, ">= 0.5"))


def run_check(both: Pair, report: Report, options: argparse.Namespace) -> None:
    """The real client's own check; it ends as a failure where the machine is too slow for it."""
    del options

    def measure(cluster: StoreCluster) -> Figure:
        done = cluster.etcdctl("check", "perf", "--load=l", check=False, timeout_s=_CHECK_S)
        found = re.search(r"(\d+) writes/s", done.stdout + done.stderr)
        if found is None:
            raise SystemExit(f"etcdctl check perf: {done.stdout}{done.stderr}")
        return Figure(float(found[1]), 0.0, 0.0, 0.0)

    report(both.compare("etcdctl check perf --load=l, writes", 1, measure, ">= 0.5"))


def run_age(report: Report) -> None:
    theirs, ours = (Figure(age.memory_mib(etcd=etcd), 0.0, 0.0, 0.0) for etcd in (True, False))
    report(Row(f"MiB a member, {age.MEMORY_KEYS:,} keys of 1 KiB", theirs, ours, "<= 1.5"))
    found = age.grow(_say)
    name = f"Put, 64 in flight: ours at {age.YOUNG_KEYS:,} keys, ours at {age.OLD_KEYS:,}"
    report(Row(name, found.young, found.old, ">= 0.8"))
    _say(
        f"with {age.OLD_KEYS:,} keys: {found.old_rss_mib:.0f} MiB a member; a member that was "
        f"killed reads again after {found.restart_s:.1f} s ({found.restart_cpu_s:.1f} s of "
        f"processor time), all of them after {found.restart_all_s:.1f} s (bar: 10 s)"
    )


def table(row: Row, *, markdown: bool) -> str:
    cells = [row.name, *map(_number, (row.etcd.per_second, row.ours.per_second))]
    cells.append(_ratio(row.ours.per_second, row.etcd.per_second))
    cells += [_pair(figure) for figure in (row.etcd, row.ours)]
    cells.append(_ratio(row.ours.p50_ms, row.etcd.p50_ms))
    cells += [_number(figure.cpu_us) for figure in (row.etcd, row.ours)]
    return _line([*cells, row.bar], markdown=markdown)


HEADINGS = (
    *("", "etcd /s", "ours /s", "ratio", "etcd p50 / p99 ms", "ours p50 / p99 ms", "p50 ratio"),
    *("etcd µs", "ours µs", "bar"),
)
_WIDTHS = (44, 9, 9, 6, 18, 18, 9, 8, 8, 10)


def _line(cells: list[str], *, markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(cells)} |"
    return " ".join(
        cell.ljust(width) if not at else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}" if value and base else ""


def _pair(figure: Figure) -> str:
    return f"{figure.p50_ms:.2f} / {figure.p99_ms:.2f}" if figure.p50_ms else ""


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="of " + ", ".join(SECTIONS))
    parser.add_argument("--only", default="", help="regular expression over names of load cases")
    parser.add_argument("--seconds", type=int, default=1, help="a round of a load case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    chosen = options.sections.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        raise SystemExit(f"unknown section: {', '.join(sorted(unknown))}")
    if not load.has_h2load():
        _say(
            "h2load is not there (Debian: nghttp2-client): the generator is a client in Python, "
            "which tops out at about 20,000 calls a second on a quiet core"
        )
    memory = psutil.virtual_memory().total >> 30
    loads = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    _say(f"{os.cpu_count()} cores, {memory} GiB, load {loads}, Python {sys.version.split()[0]}\n")
    _say(_line(list(HEADINGS), markdown=options.markdown))
    if options.markdown:
        _say("|---" * len(HEADINGS) + "|")

    def report(row: Row) -> None:
        _say(table(row, markdown=options.markdown))

    runs = {"check": run_check, "load": run_load, "watch": run_watch}
    if any(section in runs for section in chosen):
        with pair() as both:
            for section in chosen:
                if section in runs:
                    runs[section](both, report, options)
    if "age" in chosen:
        run_age(report)


if __name__ == "__main__":
    main()
