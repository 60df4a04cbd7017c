from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.node.log_lines import LineWriter, tail_offset
from agents.node.log_rotation import rename_away
from agents.node.log_stream import stream_log

TIME = "2026-01-01T00:00:{:02d}.000000000Z"


def write(path: Path, *lines: str, start: int = 0) -> None:
    """One line of the log for each text; "..." at its end means that the line goes on."""
    with path.open("a") as file:
        for number, line in enumerate(lines, start):
            tag, text = ("P", line.removesuffix("...")) if line.endswith("...") else ("F", line)
            file.write(f"{TIME.format(number)} stdout {tag} {text}\n")


async def read(path: Path, tail: int | None = None, **options: object) -> str:
    writer = LineWriter(**options)  # type: ignore[arg-type]
    return b"".join([chunk async for chunk in stream_log(path, writer, tail_lines=tail)]).decode()


@pytest.mark.parametrize(
    ("tail", "options", "text"),
    [
        pytest.param(None, {}, "a\nbc\nd\n", id="all, parts joined"),
        pytest.param(1, {}, "d\n", id="the last line"),
        pytest.param(2, {}, "bc\nd\n", id="parts are one line"),
        pytest.param(9, {}, "a\nbc\nd\n", id="more than there are"),
        pytest.param(0, {}, "", id="none"),
        pytest.param(None, {"limit_bytes": 4}, "a\nbc", id="a limit of bytes"),
        pytest.param(None, {"since": TIME.format(3)}, "d\n", id="since"),
        pytest.param(
            1, {"timestamps": True}, "2026-01-01T00:00:03.000000000Z d\n", id="timestamps"
        ),
    ],
)
async def test_options(tmp_path: Path, tail: int | None, options: object, text: str) -> None:
    path = tmp_path / "log"
    write(path, "a", "b...", "c", "d")
    assert await read(path, tail, **options) == text  # type: ignore[arg-type]


async def test_what_is_not_in_the_format_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("rubbish\n\n" + TIME.format(1) + " stdout F good\nhalf")
    assert await read(path) == "good\n"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=90)),
    tail=st.integers(0, 30),
)
async def test_tail_is_what_a_simple_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], tail: int
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    path.touch()
    write(path, *(text.rstrip(".") for text in texts))
    everything = [line + "\n" for line in (await read(path)).split("\n")[:-1]]
    assert await read(path, tail) == "".join(everything[max(0, len(everything) - tail) :])


async def test_tail_of_a_long_file_reads_its_end_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, *("x" * 100 for _ in range(5000)))
    assert path.stat().st_size - tail_offset(path, 3) < 1000


async def test_following_goes_on_through_rotation_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, "one")
    ended = False
    lines: list[bytes] = []

    async def follow() -> None:
        chunks = stream_log(path, LineWriter(), follow=True, ended=lambda: ended)
        async for chunk in chunks:
            lines.append(chunk)  # noqa: PERF401 - seen while it goes on

    task = asyncio.create_task(follow())

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while len(b"".join(lines).splitlines()) < count:  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.01)

    await until(1)
    write(path, "two")
    await until(2)
    rename_away(path)
    write(path, "three")
    await until(3)
    write(path, "four")
    ended = True
    await task
    assert b"".join(lines) == b"one\ntwo\nthree\nfour\n"


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for number in range(8):
        path.write_text(str(number))
        rename_away(path, files_max=3)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"0.log.1": "7", "0.log.2": "6"}
