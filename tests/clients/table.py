"""The clients that are tried, with what each story shows.

docs/compatibility.md is made of these rows: `python -m tests.clients.table` writes its table.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs/compatibility.md"
_BEGIN, _END = "<!-- clients -->\n", "<!-- end clients -->\n"


class Row(NamedTuple):
    """A client, the file of its story, and what that shows."""

    client: str
    story: str
    shows: str


ROWS = (
    Row(
        "`kubernetes`, the official client",
        "official_story.py",
        "typed calls, conflicts, four kinds of patch, watch, dynamic client, leader election; "
        "`stream` exec and `portforward`",
    ),
    Row(
        "`kubernetes-asyncio`",
        "asyncio_story.py",
        "many calls at once, patch, watch, delete of a collection; exec by `WsApiClient`",
    ),
    Row(
        "`lightkube`",
        "lightkube_story.py",
        "typed models, conflicts, pages, labels, watch, generic resources; exec",
    ),
    Row(
        "`kr8s`",
        "kr8s_story.py",
        "discovery, patch, label, wait for a condition, watch; exec and port-forward",
    ),
    Row(
        "`kopf`",
        "kopf_story.py",
        "an operator on a CustomResourceDefinition: finalizer, status, daemon, events, owners",
    ),
    Row(
        "helm 4, as the library `helm-python-sdk`",
        "helm_story.py",
        "install, upgrade, rollback, history and uninstall of a chart",
    ),
)


def page(text: str) -> str:
    """The page with the table of these rows in it."""
    lines = ["| client | what is tried |", "| --- | --- |"]
    lines += [f"| {row.client} | {row.shows} |" for row in ROWS]
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + "\n".join(lines) + "\n" + _END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
