"""What is wrong with text that is no JSON or no base64, in the words of Go's libraries. Pure.

Source: Go, encoding/json (scanner.go) and encoding/base64.
"""

from __future__ import annotations

import re

# Looked at for the exact words; text that is wrong only later gets words without a place.
_LOOKED_AT_MAX = 64 << 10
_SPACE = " \t\r\n"
_SKIP = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_HEX = "0123456789abcdefABCDEF"
_NO_DIGIT = re.compile(r"[^A-Za-z0-9+/\r\n]")

_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _AFTER = range(6)


class JsonError(ValueError):
    """A request's body is not what it must be; the message is for the client."""


class _FaultError(Exception):
    """Found: a character that cannot stand there."""


class _EndError(Exception):
    """Found: the end, in the middle of something."""


def syntax_fault(text: str, start: int = 0) -> str:
    """What is wrong with the first JSON value of text in which something is."""
    try:
        _Scan(text[start : start + _LOOKED_AT_MAX]).value()
    except _FaultError as fault:
        return str(fault)
    except _EndError:
        pass
    if len(text) - start > _LOOKED_AT_MAX:
        return "invalid character"
    return "unexpected EOF"


def _shown(character: str) -> str:
    special = {"'": "'\\''", '"': "'\"'"}
    return special.get(character) or repr(character)


class _Scan:
    """Reads one value, with a stack of its own, and raises where it breaks off."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> None:
        stack: list[str] = []
        state = _VALUE
        while True:
            character = self._next()
            if state in (_VALUE, _FIRST_VALUE):
                if character == "]" and state == _FIRST_VALUE:
                    stack.pop()
                    state = _AFTER
                elif character in "{[":
                    stack.append(character)
                    state = _FIRST_KEY if character == "{" else _FIRST_VALUE
                else:
                    self._scalar(character)
                    state = _AFTER
            elif state in (_KEY, _FIRST_KEY):
                if character == "}" and state == _FIRST_KEY:
                    stack.pop()
                    state = _AFTER
                elif character == '"':
                    self._string()
                    state = _COLON
                else:
                    self._fail(character, "looking for beginning of object key string")
            elif state == _COLON:
                if character != ":":
                    self._fail(character, "after object key")
                state = _VALUE
            else:
                state = self._after(character, stack)
            if state == _AFTER and not stack:
                return

    def _after(self, character: str, stack: list[str]) -> int:
        opened = stack[-1]
        if character == ",":
            return _KEY if opened == "{" else _VALUE
        if character == ("}" if opened == "{" else "]"):
            stack.pop()
            return _AFTER
        place = "after object key:value pair" if opened == "{" else "after array element"
        return self._fail(character, place)

    def _next(self) -> str:
        match = _SKIP.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._take()

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise _EndError
        self._at += 1
        return self._text[self._at - 1]

    @staticmethod
    def _fail(character: str, place: str) -> int:
        raise _FaultError(f"invalid character {_shown(character)} {place}")

    def _scalar(self, character: str) -> None:
        words = {"t": "true", "f": "false", "n": "null"}
        if character == '"':
            self._string()
        elif character in words:
            word = words[character]
            for expected in word[1:]:
                found = self._take()
                if found != expected:
                    self._fail(found, f"in literal {word} (expecting {_shown(expected)})")
        elif character in "-0123456789":
            self._number(character)
        else:
            self._fail(character, "looking for beginning of value")

    def _string(self) -> None:
        while True:
            match = _PLAIN.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            character = self._take()
            if character == '"':
                return
            if character != "\\":
                self._fail(character, "in string literal")
            escape = self._take()
            if escape == "u":
                for _ in range(4):
                    digit = self._take()
                    if digit not in _HEX:
                        self._fail(digit, "in \\u hexadecimal character escape")
            elif escape not in 'bfnrt\\/"':
                self._fail(escape, "in string escape code")

    def _number(self, first: str) -> None:
        if first == "-":
            first = self._take()
            if not first.isdecimal():
                self._fail(first, "in numeric literal")
        if first != "0":
            self._digits()
        if self._peek() == ".":
            self._take()
            digit = self._take()
            if digit not in "0123456789":
                self._fail(digit, "after decimal point in numeric literal")
            self._digits()
        if self._peek() in ("e", "E"):
            self._take()
            digit = self._take()
            if digit in "+-":
                digit = self._take()
            if digit not in "0123456789":
                self._fail(digit, "in exponent of numeric literal")
            self._digits()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _digits(self) -> None:
        match = _DIGITS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()


def base64_fault(text: str) -> str:
    """What is wrong with text that is no base64: the place where decoding ends.

    That is a bad character, or the first of a group of four that is not whole.
    """
    match = _NO_DIGIT.search(text)
    at = match.start() if match else len(text)
    have = (at - text.count("\r", 0, at) - text.count("\n", 0, at)) % 4
    place = _place(text, at, have) if match else at - have
    return f"illegal base64 data at input byte {place}"


def _place(text: str, at: int, have: int) -> int:
    """Where Go sees the fault, given the first character that is no digit."""
    if text[at] != "=" or have < 2:
        return at
    rest = [n for n in range(at + 1, len(text)) if text[n] not in "\r\n"][:2]
    if have == 2:
        if not rest:
            return len(text)
        if text[rest[0]] != "=":
            return rest[0] - 1
        rest = rest[1:]
    return rest[0] if rest else at
