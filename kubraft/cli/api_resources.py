"""`kubraft api-resources`: the kinds that the server has."""

from __future__ import annotations

from kubraft.cli.kind_table import qualified_plural
from kubraft.cli.output import check_format
from kubraft.cli.session import Session
from kubraft.cli.table_view import aligned


async def api_resources(session: Session, *, output: str, headers: bool) -> None:
    """List all kinds with their names, scope and verbs."""
    check_format(output, ("name", "wide"))
    kinds = list(await session.kinds())
    if output == "name":
        for kind in kinds:
            session.terminal.out(qualified_plural(kind))
        return
    rows = [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]] if headers else []
    if headers and output == "wide":
        rows[0] += ["VERBS", "CATEGORIES"]
    for kind in kinds:
        row = [
            kind.plural,
            ",".join(kind.short_names),
            kind.gvk.api_version,
            "true" if kind.namespaced else "false",
            kind.gvk.kind,
        ]
        if output == "wide":
            row += [",".join(kind.verbs), ",".join(kind.categories)]
        rows.append(row)
    for line in aligned(rows):
        session.terminal.out(line)
