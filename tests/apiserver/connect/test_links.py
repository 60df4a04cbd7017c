"""Links in pages: which are rewritten, that nothing else is, and that no page takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.connect.links import Proxied, rewrite_page

PROXIED = Proxied("10.0.0.9:80", "api:6443", "/p/proxy")
PIECES = (
    *("<a", "<!--", "-->", "<script>", "</script>", ">", " href=", '"', "'", "/x", "=", " ", "é"),
    *("&amp;", "<img src=/i>", "//h/", "http://10.0.0.9:80/y", "<", "\0"),
)


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("/a/b", "/p/proxy/a/b"),
        ("/a/b/?c=d#e", "/p/proxy/a/b/?c=d#e"),
        ("/", "/p/proxy/"),
        ("/p/proxy/a", "/p/proxy/a"),
        ("http://10.0.0.9:80/a", "/p/proxy/a"),
        ("https://api:6443/a", "https://api:6443/p/proxy/a"),
        ("http://10.0.0.9:81/a", "http://10.0.0.9:81/a"),
        ("//elsewhere/a", "//elsewhere/a"),
        ("a/b", "a/b"),
        ("#top", "#top"),
        ("mailto:a@b", "mailto:a@b"),
        ("http://[", "http://["),
    ],
)
def test_urls(url: str, rewritten: str) -> None:
    assert PROXIED.rewrite(url) == rewritten


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_a_page_whose_urls_stay_stays_byte_for_byte(pieces: list[str]) -> None:
    page = "".join(pieces).encode()
    assert rewrite_page(page, lambda url: url) == page
    rewrite_page(page, PROXIED.rewrite)  # and no page is too odd


@pytest.mark.parametrize(
    "page",
    [
        b"<a " + b"x" * (1 << 20) + b">",
        b"<a " + b"x=" * (1 << 19) + b">",
        b"<a " + b" " * (1 << 20) + b">",
        b"<a " + b"x=\" y='" * (1 << 17) + b">",
        b"<a" * (1 << 19),
        b"<script>" * (1 << 17),
        b"<!--" * (1 << 18),
        b"<a href='/x'>" * (1 << 16),
    ],
    ids=["name", "equals", "blanks", "quotes", "tags", "scripts", "comments", "links"],
)
def test_no_page_takes_long(page: bytes) -> None:
    began_s = time.process_time()
    rewrite_page(page, PROXIED.rewrite)
    assert time.process_time() - began_s < 20  # what is quadratic takes minutes
