from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.api.quantity import (
    Format,
    Quantity,
    canonical,
    from_milli,
    from_units,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0", "0", id="zero"),
        pytest.param("0Gi", "0", id="zero loses its suffix"),
        pytest.param("1000m", "1", id="thousandths that make a whole"),
        pytest.param("0.1", "100m", id="fractions become thousandths"),
        pytest.param("1.5", "1500m", id="mixed"),
        pytest.param("-1.5", "-1500m", id="negative"),
        pytest.param("1000", "1k", id="a thousand"),
        pytest.param("1024Mi", "1Gi", id="binary suffix grows"),
        pytest.param("1.5Gi", "1536Mi", id="binary fraction"),
        pytest.param("0.5Ki", "512", id="binary below 1024 is written in decimal"),
        pytest.param("1e3", "1e3", id="exponent stays"),
        pytest.param("12E6", "12e6", id="capital exponent"),
        pytest.param("1E", "1E", id="E alone is exa"),
        pytest.param("0.1n", "1n", id="finer than nano rounds up"),
        pytest.param("-0.1n", "-1n", id="away from zero"),
        pytest.param(".5", "500m", id="no digit before the point"),
        pytest.param("5.", "5", id="no digit after the point"),
        pytest.param("2048Ei", "2048Ei", id="exbi is the last suffix"),
        pytest.param(2, "2", id="a JSON integer"),
        pytest.param(0.25, "250m", id="a JSON number"),
    ],
)
def test_quantities_are_written_in_canonical_form(text: str | float, expected: str) -> None:
    assert canonical(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "quantities must match the regular expression", id="empty"),
        pytest.param("1 Gi", "quantities must match the regular expression", id="space"),
        pytest.param("abc", "quantities must match the regular expression", id="letters"),
        pytest.param("1.2.3", "unable to parse numeric part of quantity", id="two points"),
        pytest.param(".", "unable to parse numeric part of quantity", id="a point alone"),
        pytest.param("1e", "unable to parse quantity's suffix", id="exponent without digits"),
        pytest.param("1mM", "unable to parse quantity's suffix", id="two suffixes"),
        pytest.param("1e999999999", "unable to parse quantity's suffix", id="absurd exponent"),
    ],
)
def test_what_is_no_quantity_is_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_quantity(text)


def test_rounding_to_units_goes_up() -> None:
    assert parse_quantity("1m").value() == 1
    assert parse_quantity("1001u").milli_value() == 2
    assert parse_quantity("-1500m").value() == -2


def test_sums_keep_the_format_of_the_first() -> None:
    assert str(parse_quantity("1Gi") + parse_quantity("1Gi")) == "2Gi"
    assert str(parse_quantity("0") + parse_quantity("1Gi")) == "1Gi"
    assert str(from_milli(1500) - from_units(1)) == "500m"


amounts = st.integers(-(10**24), 10**24)
quantities = st.builds(Quantity, amounts, st.sampled_from(Format))


@given(quantities)
def test_reading_what_was_written_gives_the_same_amount(quantity: Quantity) -> None:
    assert parse_quantity(str(quantity)) == quantity


@given(quantities)
def test_canonical_form_is_a_fixed_point(quantity: Quantity) -> None:
    # Not yet what was written: 625000 bytes have no binary suffix, and then read as decimal, 625k.
    form = canonical(str(quantity))
    assert canonical(form) == form


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**6 - 1),
    st.sampled_from(["n", "u", "m", "", "k", "Ki", "Mi", "Gi"]),
)
def test_reading_agrees_with_fractions(whole: int, fraction: int, suffix: str) -> None:
    factors = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3}
    factor = (
        Fraction(10) ** factors[suffix]
        if suffix in factors
        else Fraction(1024) ** (["Ki", "Mi", "Gi"].index(suffix) + 1)
    )
    exact = (whole + Fraction(fraction, 10**6)) * factor * 10**9
    expected = -((-exact.numerator) // exact.denominator)
    assert parse_quantity(f"{whole}.{fraction:06d}{suffix}").nano == expected


@given(quantities, quantities)
def test_order_and_sums_are_those_of_the_amounts(a: Quantity, b: Quantity) -> None:
    assert (a < b) is (a.nano < b.nano)
    assert (a + b).nano == a.nano + b.nano
    assert ((a + b) - b) == a
