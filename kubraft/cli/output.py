"""Objects as JSON, as YAML or by name.

Source: kubectl's output formats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from kubraft.cli.failure import CommandError

if TYPE_CHECKING:
    import yaml

FORMATS: Final = ("json", "yaml", "name", "wide")


def check_format(output: str, allowed: Sequence[str] = FORMATS) -> None:
    """Raises CommandError where `output` is neither empty nor one of `allowed`."""
    if output and output not in allowed:
        raise CommandError(
            f'unable to match a printer suitable for the output format "{output}", '
            f"allowed formats are: {','.join(sorted(allowed))}"
        )


def formatted(output: str, objects: Sequence[Object], *, as_list: bool) -> str:
    """`objects` in one of the formats json, yaml and name, as a List where `as_list`."""
    if output == "name":
        return "\n".join(resource_name(obj) for obj in objects)
    shown = object_list(objects) if as_list else objects[0]
    return as_json(shown) if output == "json" else as_yaml(shown)


def object_list(objects: Sequence[Object]) -> Object:
    """The objects as one `kind: List`."""
    return {
        "apiVersion": "v1",
        "items": list(objects),
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }


def resource_name(obj: Object) -> str:
    """As `-o name` writes it: "pod/web", "deployment.apps/web"."""
    gvk = gvk_of(obj)
    kind = gvk.kind.lower()
    return f"{kind}.{gvk.group}/{_name(obj)}" if gvk.group else f"{kind}/{_name(obj)}"


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def as_json(obj: Any) -> str:
    """JSON as people read it."""
    return json.dumps(obj, indent=4, ensure_ascii=False, sort_keys=True)


def as_yaml(obj: Any) -> str:
    """YAML as people read it: texts of several lines stand as blocks."""
    import yaml  # noqa: PLC0415 - slow to import and rarely needed

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is yaml's
            return True

    Dumper.add_representer(str, _represent_text)
    text: str = yaml.dump(
        obj, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=1 << 16
    )
    return text.removesuffix("\n")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
