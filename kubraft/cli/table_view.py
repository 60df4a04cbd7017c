"""Tables of text: what the server's Table looks like on a terminal.

Source: kubectl's table layout (columns of at least their widest cell, three blanks between).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kubraft.api.object import Object
from kubraft.cli.terminal import Terminal, visible_width

GAP: Final = "   "

_STATE_COLOURS: Final = {
    "Running": "green",
    "Ready": "green",
    "Active": "green",
    "Completed": "dim",
    "Succeeded": "dim",
    "Pending": "yellow",
    "ContainerCreating": "yellow",
    "PodInitializing": "yellow",
    "Terminating": "yellow",
    "NotReady": "red",
    "Error": "red",
    "Failed": "red",
    "CrashLoopBackOff": "red",
    "ImagePullBackOff": "red",
    "ErrImagePull": "red",
    "Evicted": "red",
    "Unknown": "red",
    "Warning": "yellow",
}


def aligned(rows: Sequence[Sequence[str]], widths: list[int] | None = None) -> list[str]:
    """Lines with their columns under each other; `widths`, where given, are widened and kept."""
    columns = max((len(row) for row in rows), default=0)
    widths = widths if widths is not None else []
    widths.extend([0] * (columns - len(widths)))
    for row in rows:
        for index, cell in enumerate(row):
            widths[index] = max(widths[index], visible_width(cell))
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell + " " * (width - visible_width(cell)) for cell, width in zip(row, widths, strict=False)
    ]
    return GAP.join(cells).rstrip()


class TableView:
    """Chooses and formats the columns of one kind; remembers widths, so that a watch stays even."""

    def __init__(
        self,
        terminal: Terminal,
        *,
        wide: bool = False,
        namespaces: bool = False,
        name_prefix: str = "",
        show_labels: bool = False,
    ) -> None:
        """`name_prefix` is put before names where several kinds are shown: "pod/"."""
        self._terminal = terminal
        self._wide = wide
        self._namespaces = namespaces
        self._name_prefix = name_prefix
        self._show_labels = show_labels
        self._widths: list[int] = []

    def lines(self, table: Object, *, header: bool = True) -> list[str]:
        """The header, where wished, and one line for each row."""
        definitions = table.get("columnDefinitions") or []
        shown = [i for i, d in enumerate(definitions) if self._wide or not d.get("priority")]
        titles = [str(definitions[i].get("name", "")) for i in shown]
        rows = [self._row(row, shown, titles) for row in table.get("rows") or ()]
        if header:
            paint = self._terminal.paint
            rows.insert(0, [paint(title, "bold") for title in self._header(titles)])
        return aligned(rows, self._widths)

    def _header(self, titles: Iterable[str]) -> list[str]:
        header = [title.upper() for title in titles]
        if self._namespaces:
            header.insert(0, "NAMESPACE")
        if self._show_labels:
            header.append("LABELS")
        return header

    def _row(self, row: dict[str, Any], shown: Iterable[int], titles: Sequence[str]) -> list[str]:
        cells = row.get("cells") or []
        texts = [cell_text(cells[index]) if index < len(cells) else "" for index in shown]
        for index, title in enumerate(titles):
            if title in ("Status", "Type", "Reason"):
                texts[index] = self._coloured(texts[index])
        if self._name_prefix and texts:
            texts[0] = self._name_prefix + texts[0]
        metadata = (row.get("object") or {}).get("metadata") or {}
        if self._namespaces:
            texts.insert(0, metadata.get("namespace", ""))
        if self._show_labels:
            labels = metadata.get("labels") or {}
            texts.append(",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>")
        return texts

    def _coloured(self, text: str) -> str:
        """By the first word of a state such as "Ready,SchedulingDisabled" or "Init:Error"."""
        word = text.removeprefix("Init:").partition(",")[0]
        return self._terminal.paint(text, _STATE_COLOURS.get(word, ""))


def cell_text(cell: Any) -> str:
    """One cell as text, on one line."""
    if cell is None:
        return "<none>"
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return " ".join(str(cell).splitlines())
