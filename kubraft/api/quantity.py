"""Resource quantities: exact amounts with the suffixes of Kubernetes.

A quantity is held as a whole number of 1e-9 units, so sums and comparisons are exact. What is
finer than that is rounded away from zero, as upstream does.

    100m   1.5   4k   2Gi   12e6   250n

Source: Kubernetes documentation, "Quantity"; apimachinery resource.Quantity (formats, rounding,
canonical form and messages).
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from functools import lru_cache, total_ordering

NANO = 1_000_000_000
_NANO_DIGITS = 9

_SHAPE = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]{1,9})")

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
# Beyond this a number is surely a mistake, and its digits would only cost memory.
_EXPONENT_MAX = 60


class Format(Enum):
    """How a quantity was written, and so how it is written again."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@total_ordering
class Quantity:
    """An amount; immutable, hashable, ordered by value whatever the format."""

    __slots__ = ("format", "nano")

    nano: int
    format: Format

    def __init__(self, nano: int, format_: Format = Format.DECIMAL) -> None:
        self.nano = nano
        self.format = format_

    def value(self) -> int:
        """In whole units, rounded away from zero."""
        return _divide_up(self.nano, NANO)

    def milli_value(self) -> int:
        """In thousandths, rounded away from zero: CPU."""
        return _divide_up(self.nano, 1_000_000)

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.format)

    def __str__(self) -> str:
        """The canonical form: no fraction, the largest suffix that keeps the value exact."""
        if self.nano == 0:
            return "0"
        if self.format is Format.BINARY and abs(self.nano) >= 1024 * NANO and self.nano % NANO == 0:
            return _format_binary(self.nano // NANO)
        return _format_decimal(self.nano, exponential=self.format is Format.EXPONENT)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"


ZERO = Quantity(0)


def parse_quantity(text: str | float) -> Quantity:
    """Read a quantity; JSON numbers are taken as written.

    Raises:
        ValueError: with upstream's message, for what is not a quantity.
    """
    return _parse(text if isinstance(text, str) else _number_text(text))


def from_units(units: int, format_: Format = Format.DECIMAL) -> Quantity:
    """The quantity of so many whole units."""
    return Quantity(units * NANO, format_)


def from_milli(milli: int) -> Quantity:
    """The quantity of so many thousandths."""
    return Quantity(milli * 1_000_000)


def canonical(text: str | float) -> str:
    """How the API writes that quantity: "1000m" becomes "1", "1024Mi" becomes "1Gi"."""
    return str(parse_quantity(text))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    if not (shape := _SHAPE.fullmatch(text)):
        raise ValueError(f"quantities must match the regular expression '^{_SHAPE.pattern}$'")
    number, suffix = shape.groups()
    if not _NUMBER.fullmatch(number):
        raise ValueError("unable to parse numeric part of quantity")
    if suffix in _BINARY:
        factor, exponent, format_ = 1024 ** _BINARY[suffix], 0, Format.BINARY
    elif suffix in _DECIMAL:
        factor, exponent, format_ = 1, _DECIMAL[suffix], Format.DECIMAL
    elif (match := _EXPONENT.fullmatch(suffix)) and abs(int(match[1])) <= _EXPONENT_MAX:
        factor, exponent, format_ = 1, int(match[1]), Format.EXPONENT
    else:
        raise ValueError("unable to parse quantity's suffix")
    whole, _, fraction = number.lstrip("+-").partition(".")
    digits = int((whole + fraction) or "0") * factor
    scale = exponent + _NANO_DIGITS - len(fraction)
    nano = digits * 10**scale if scale >= 0 else _divide_up(digits, 10**-scale)
    return Quantity(-nano if number.startswith("-") else nano, format_)


def _number_text(number: float) -> str:
    return str(number) if isinstance(number, int) else format(Decimal(str(number)), "f")


def _divide_up(amount: int, divisor: int) -> int:
    """Divide, rounding away from zero."""
    return -(-amount // divisor) if amount >= 0 else amount // divisor


def _format_decimal(nano: int, *, exponential: bool) -> str:
    mantissa, exponent = nano, -_NANO_DIGITS
    while mantissa % 1000 == 0:
        mantissa //= 1000
        exponent += 3
    if exponent == 0:
        return str(mantissa)
    if exponential or exponent not in _DECIMAL_SUFFIX:
        return f"{mantissa}e{exponent}"
    return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def _format_binary(units: int) -> str:
    power = 0
    while units % 1024 == 0 and power < max(_BINARY_SUFFIX):
        units //= 1024
        power += 1
    return f"{units}{_BINARY_SUFFIX.get(power, '')}"
