"""The style that no linter reaches: what cores may import, and what documents promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "kubraft/pb"
PROGRAMS = ("agents", "apiserver", "kubraft", "scripts", "store")
SOURCES = [
    path
    for folder in (*PROGRAMS, "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if GENERATED not in path.parents
]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Folders of decisions, and the modules in them that are shells. A new module is a core until it
# is named here.
CORES: dict[str, tuple[str, ...]] = {
    "store/mvcc": ("backend.py", "machine.py", "snapshot_file.py"),  # LMDB and files
    "agents/scheduler": ("__main__.py", "scheduler.py", "binding_cycle.py", "volume_binder.py"),
    "agents/controllers": (
        "informers.py",
        "manager.py",
        "controller.py",
        "pod_control.py",
        "binder.py",
        "local_provisioner.py",
    ),
    "apiserver/authz": ("bootstrap.py",),
    "apiserver/registry": ("machinery.py",),  # where uids are minted
    "apiserver/schema": (),
    "kubraft/api": ("time.py",),  # the clock itself
}
CORE_MODULES = ("agents/node/plan.py", "agents/node/pod_view.py", "agents/node/status.py")
# What differs from one process or moment to the next. `Random` as a type is welcome.
IMPURE = {
    *("asyncio", "grpc", "lmdb", "os", "random", "secrets", "socket", "subprocess"),
    *("threading", "time", "uuid", "uvloop"),
}
IMPURE_CALLS = re.compile(r"\b(?:datetime|date|dt)\.(?:now|today|utcnow)\b|\bRandom\(\)")

LINES_MAX = 600
# Overrides of one class of a library, in its order.
LINES_MAX_OF = {"store/raft/hardened.py": 803}


SKIPS = ("pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")


def cores() -> Iterator[Path]:
    for folder, shells in CORES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in shells:
                yield path
    yield from (ROOT / name for name in CORE_MODULES)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def imported(path: Path) -> Iterator[str]:
    """Top-level packages, and `random.Random` whole."""
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and (node.module, [alias.name for alias in node.names]) != ("random", ["Random"])
        ):
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", list(cores()), ids=name)
def test_cores_get_time_and_chance_and_io_as_arguments(path: Path) -> None:
    assert not IMPURE.intersection(imported(path))
    assert not IMPURE_CALLS.findall(text(path))


def test_every_shell_that_is_excepted_exists() -> None:
    for folder, shells in CORES.items():
        present = {path.name for path in (ROOT / folder).rglob("*.py")}
        assert present.issuperset(shells)


def test_one_module_knows_the_consensus_library() -> None:
    programs = [path for path in SOURCES if name(path).startswith(PROGRAMS)]
    assert [name(p) for p in programs if "pysyncobj" in imported(p)] == ["store/raft/hardened.py"]


def test_every_log_line_names_its_component() -> None:
    """The library's own loggers drop the name that they are given."""
    own = [path for path in SOURCES if name(path).split("/")[0] in PROGRAMS]
    nameless = [name(path) for path in own if "structlog.get_logger(" in path.read_text()]
    assert nameless == ["kubraft/log.py"]


def test_modules_stay_small() -> None:
    lines = {name(path): text(path).count("\n") for path in SOURCES}
    assert not {n: c for n, c in lines.items() if c > LINES_MAX_OF.get(n, LINES_MAX)}


@pytest.mark.parametrize(
    ("pattern", "suffixes"),
    [
        # Written so that this file does not find itself.
        pytest.param(r"\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b", ".py .md .sh .proto", id="to do"),
        pytest.param(r"NotImplemented[E]rror", ".py", id="not there yet"),
        pytest.param(r"[\"' (](?:/home/\w+/|/root/|/work[/]|C:[\\])", ".py .md .sh", id="machine"),
    ],
)
def test_nothing_is_left_lying_about(pattern: str, suffixes: str) -> None:
    others = (*ROOT.glob("scripts/*.sh"), *ROOT.glob("proto/kubraft/pb/v1/*.proto"))
    found = [
        f"{name(path)}: {match.group()}"
        for path in [*SOURCES, *PAGES, *others]
        if path.suffix in suffixes.split()
        for match in re.finditer(pattern, text(path))
    ]
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_paths_of_pages_exist(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text(page)) if "://" not in link]
    # In backticks, a path with a folder and a suffix of ours is meant to be found from the root.
    paths = re.findall(rf"`((?:docs|proto|tests|{'|'.join(PROGRAMS)})/[^`\s*]+\.\w+)`", text(page))
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_documents_that_code_names_exist() -> None:
    named = [
        (name(path), document)
        for path in SOURCES
        for document in re.findall(
            r"\b(?:docs/[\w/.-]+|tests/[\w/]+)\.(?:md|toml|yaml|txt)\b", text(path)
        )
    ]
    assert named
    assert not [pair for pair in named if not (ROOT / pair[1]).exists()]


def test_every_decision_is_listed_and_numbered_once() -> None:
    folder = ROOT / "docs/adr"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text(folder / "README.md"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
    numbers = [file[:4] for file in listed]
    assert len(set(numbers)) == len(numbers)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        page = page / "README.md" if page.is_dir() else page
        if page not in reached and page in PAGES:
            reached.add(page)
            links = re.findall(r"\]\(([^)#\s]+)", text(page))
            waiting += [(page.parent / link).resolve() for link in links]
    assert not [name(page) for page in PAGES if "docs" in page.parts and page not in reached]


def test_every_make_target_says_what_it_does() -> None:
    makefile = text(ROOT / "Makefile")
    targets = re.findall(r"^([a-z-]+):(.*)$", makefile, re.MULTILINE)
    assert targets
    assert not [target for target, rest in targets if "## " not in rest]
    phony = {
        word
        for line in re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
        for word in line.split()
    }
    assert phony == {target for target, _rest in targets}


def test_every_skip_says_why() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(text(path))) if "skip" in text(path) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in SKIPS:
                given = [*node.args, *(k.value for k in node.keywords if k.arg == "reason")]
                reasons = [g for g in given if isinstance(g, (ast.Constant, ast.JoinedStr))]
                assert reasons, f"{name(path)}:{node.lineno}"
