"""Writes apiserver/schema/protobuf_fields.txt: the numbers of fields in Kubernetes' binary form.

usage: scripts/protobuf_fields.py API_CHECKOUT APIMACHINERY_CHECKOUT

The checkouts are those of k8s.io/api and k8s.io/apimachinery. Numbers and types come from the
struct tags of types.go: they also say which fields are pointers, and which are inlined in JSON.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

GROUPS = (
    "admissionregistration apps authentication authorization autoscaling batch certificates "
    "coordination core discovery events flowcontrol networking node policy rbac resource "
    "scheduling storage storagemigration"
)
# Groups with a second version that is served, and what the table calls that.
SECOND = {"autoscalingv2": "autoscaling/v2"}
_FIELD = re.compile(
    r'^\t(?:(?P<name>\w+)[ \t]+)?(?P<type>[\w.*\[\]]+)[ \t]+`json:"(?P<json>[^",]*)[^"]*"'
    r'[^`]*protobuf:"(?P<wire>\w+),(?P<number>\d+),(?P<rule>\w+)[^`]*`'
)
_SCALARS = {
    "string": "string", "bool": "bool", "int32": "int", "int64": "int", "uint32": "int",
    "uint64": "int", "byte": "bytes",
}  # fmt: skip
# Messages whose JSON form is not that of their fields.
_SPECIAL = {
    ("meta", "Time"): "Time", ("meta", "MicroTime"): "MicroTime", ("meta", "FieldsV1"): "Raw",
    ("resource", "Quantity"): "Quantity", ("intstr", "IntOrString"): "IntOrString",
    ("runtime", "RawExtension"): "Raw",
}  # fmt: skip
_IMPORT = re.compile(r'^\t(?:(\w+) )?"(k8s\.io/[\w./-]+)"$', re.MULTILINE)


def structs(text: str) -> dict[str, list[re.Match[str]]]:
    """The tagged fields of each struct."""
    found: dict[str, list[re.Match[str]]] = {}
    current: list[re.Match[str]] = []
    for line in text.splitlines():
        if begun := re.match(r"type (\w+) struct \{", line):
            current = found[begun[1]] = []
        elif line == "}":
            current = []
        elif field := _FIELD.match(line):
            current.append(field)
    return found


def aliases(text: str) -> dict[str, str]:
    """Named types that are no structs, by what they are."""
    return {m[1]: m[2] for m in re.finditer(r"^type (\w+) ([\w.\[\]]+)$", text, re.MULTILINE)}


def _place(path: str) -> str:
    """What the table calls a package."""
    parts = path.split("/")
    return parts[-2] if parts[-1] == "v1" else parts[-1]


class Package:
    """One group's types."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.structs = structs(text)
        self.aliases = aliases(text)
        self.imports = {
            alias or path.rpartition("/")[2]: _place(path) for alias, path in _IMPORT.findall(text)
        }

    def type_of(self, go: str, packages: dict[str, Package]) -> str:
        """The type as the table has it: flags, then a scalar or a message."""
        if go.startswith("*"):
            return "*" + self.type_of(go[1:], packages)
        if go == "[]byte":
            return "bytes"
        if go.startswith("[]"):
            return "[]" + self.type_of(go[2:], packages)
        if keyed := re.match(r"map\[[\w.]+\](.*)", go):
            return "{}" + self.type_of(keyed[1], packages)
        return self._named(go, packages)

    def _named(self, go: str, packages: dict[str, Package]) -> str:
        if go in _SCALARS:
            return _SCALARS[go]
        prefix, _, name = go.rpartition(".")
        place = self.imports[prefix] if prefix else self.name
        if place == "types":
            return "string"  # UID and its like
        if (place, name) in _SPECIAL:
            return _SPECIAL[place, name]
        if place not in packages:
            return "?"  # of a version that is not served
        owner = packages[place]
        if name in owner.structs:
            return f"{owner.name}.{name}"
        alias = owner.aliases[name]
        inner = owner.type_of(alias, packages)
        # A named list is a message of its own, with the items as field 1.
        return f"<>{inner[2:]}" if alias.startswith("[]") else inner


def main() -> None:
    """Write the table."""
    api, machinery = map(Path, sys.argv[1:])
    sources = {name: api / name / "v1/types.go" for name in GROUPS.split()}
    sources |= {name: api / path / "types.go" for name, path in SECOND.items()}
    texts = {name: path.read_text() for name, path in sources.items()}
    meta = machinery / "pkg/apis/meta/v1"
    texts["meta"] = "".join((meta / n).read_text() for n in ("types.go", "group_version.go"))
    packages = {name: Package(name, text) for name, text in texts.items()}
    lines = []
    for name, package in sorted(packages.items()):
        for struct, fields in sorted(package.structs.items()):
            shown = [
                f"{f['number']} {f['json'] or '^'} {package.type_of(f['type'], packages)}"
                for f in fields
            ]
            if shown:
                lines.append(f"{name}.{struct}: {'; '.join(shown)}\n")
    target = Path(__file__).parents[1] / "apiserver/schema/protobuf_fields.txt"
    target.write_text("".join(lines))


if __name__ == "__main__":
    main()
