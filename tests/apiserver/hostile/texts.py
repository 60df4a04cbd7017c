"""Texts that are nearly right: from samples, with pieces cut, doubled, swapped and put in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

PIECES = (
    *(b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\r\n", b"\n", b" ", b"\t", b"%", b"%2f", b"%00"),
    *(b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"-", b"&a", b"*a", b"!!", b"<<: ", b"\\"),
    *(b"null", b"true", b"0", b"-1", b"1e999", b"99999999999999999999", b"NaN", b"1.5", b"~"),
    *(b"=", b"!=", b" in ", b" notin ", b"(", b")", b"!", b">", b"==", b"||", b"&&", b"?", b"."),
    *(b"A" * 300, b"[" * 300, b"{" * 300, b"(" * 300, b"a." * 200, "é€😀".encode(), b"\x7f"),
    *(b"\x0a\x7f", b"\x80" * 12, b"\x0b", b"\x0c", b"k8s\0", b"eyJ", b"..", b"//", b";q=", b"as="),
)


def mutated(sample: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    """`sample` with one to five changes; some take a part of another sample."""
    made = bytearray(sample)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((1, 1, 2, 4, 8, 30)))
        way = random.randrange(6)
        if way == 0:
            del made[at:end]
        elif way == 1:
            made[at:at] = random.choice(PIECES)
        elif way == 2:
            made[at:end] = random.choice(PIECES)
        elif way == 3:
            made[at:at] = made[at:end] * random.choice((1, 2, 20))
        elif way == 4 and end > at:
            made[at] ^= 1 << random.randrange(8)
        else:
            other = random.choice(samples)
            begin = random.randrange(len(other) + 1)
            made[at:end] = other[begin : begin + random.choice((1, 5, 40))]
    return bytes(made)
