from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.controllers.job.indexes import format_indexes, lowest_missing, parse_indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([0, 1], "0,1"),
        ([1, 3, 4, 5, 7], "1,3-5,7"),
        ([5, 4, 3], "3-5"),
    ],
)
def test_runs_are_written_with_a_hyphen(indexes: list[int], text: str) -> None:
    assert format_indexes(indexes) == text


@given(st.frozensets(st.integers(0, 200)))
def test_what_is_written_is_read(indexes: frozenset[int]) -> None:
    assert parse_indexes(format_indexes(indexes), 201) == indexes


def test_indexes_beyond_the_completions_and_nonsense_are_left_out() -> None:
    assert parse_indexes("1-9,x,-3,12", 4) == {1, 2, 3}


def test_the_lowest_indexes_go_first() -> None:
    assert lowest_missing({0, 2}, 2, 5) == [1, 3]
    assert lowest_missing({0, 1}, 5, 3) == [2]
