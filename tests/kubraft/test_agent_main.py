import asyncio

import pytest

from kubraft.agent_main import agent_parser, duration_s, first_cause, until_stopped


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("40s", 40), ("500ms", 0.5), ("1m", 60), ("2h", 7200), ("1.5s", 1.5), ("10", 10)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1 s", "1.2.3s", "ms5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_s(text)


def test_a_missing_server_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        agent_parser("scheduler", "Schedules.").parse_args([])
    assert raised.value.code == 2
    assert "--server" in capsys.readouterr().err


def test_the_first_cause_of_nested_groups() -> None:
    cause = ValueError("x")
    nested = ExceptionGroup("a", [ExceptionGroup("b", [cause]), KeyError("y")])
    assert first_cause(nested) is cause
    assert first_cause(cause) is cause


async def test_a_stop_cancels_the_work_and_waits_for_its_end() -> None:
    stop = asyncio.Event()
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    running = asyncio.ensure_future(until_stopped(work(), stop))
    await asyncio.sleep(0)
    stop.set()
    await running
    assert ended


async def test_work_that_fails_is_not_hidden() -> None:
    async def work() -> None:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        await until_stopped(work(), asyncio.Event())
