"""Which form a client wants its answer in, and which one its body has. Pure.

Source: Kubernetes documentation, "API concepts", alternate representations; RFC 9110, section 12.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from kubraft.api.errors import NotAcceptableError, UnsupportedMediaTypeError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
CLAUSES_MAX = 32
_OFFERS = f"{JSON}, {YAML}"
_META_VERSIONS = ("v1", "v1beta1")


class View(Enum):
    """What of an object is sent."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


class Form(NamedTuple):
    """How an answer is written."""

    view: View = View.OBJECT
    yaml: bool = False
    meta_version: str = "v1"

    @property
    def content_type(self) -> str:
        return YAML if self.yaml else JSON


class Clause(NamedTuple):
    """One of the alternatives of an Accept header."""

    media: str
    parameters: dict[str, str]
    quality: float


@lru_cache(maxsize=256)
def accepted(accept: str, *, stream: bool = False, views: bool = True) -> Form:
    """The first form that a client accepts and the server has; without `views`, objects alone.

    Raises:
        NotAcceptableError: there is none.
    """
    for clause in clauses(accept):
        form = _form(clause, stream=stream)
        if form is not None and (views or form.view is View.OBJECT):
            return form
    raise NotAcceptableError(f"only the following media types are accepted: {_OFFERS}")


def clauses(accept: str) -> list[Clause]:
    """The alternatives, the most wanted first."""
    found = []
    for text in (accept.strip() or "*/*").split(",")[:CLAUSES_MAX]:
        media, *rest = (part.strip() for part in text.split(";"))
        parameters = {}
        for part in rest:
            name, _, value = part.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        found.append(Clause(media.lower(), parameters, quality))
    return sorted(found, key=lambda clause: -clause.quality)


def is_yaml(content_type: str) -> bool:
    """Whether a body is YAML; else it is JSON, which is also what no type means.

    Raises:
        UnsupportedMediaTypeError: it is neither.
    """
    media = media_type(content_type)
    if media in ("", JSON):
        return False
    if media in (YAML, "application/x-yaml", "text/yaml"):
        return True
    raise UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: "
        f"{_OFFERS}, {PROTOBUF}"
    )


def media_type(header: str) -> str:
    """A media type without its parameters."""
    return header.partition(";")[0].strip().lower()


def _form(clause: Clause, *, stream: bool) -> Form | None:
    if clause.quality <= 0 or clause.media not in ("*/*", "application/*", JSON, YAML):
        return None
    yaml = clause.media == YAML
    if yaml and stream:
        return None
    wanted = clause.parameters.get("as", "")
    if not wanted:
        return Form(yaml=yaml)
    version = clause.parameters.get("v", "v1")
    group = clause.parameters.get("g", "meta.k8s.io")
    if group != "meta.k8s.io" or version not in _META_VERSIONS:
        return None
    try:
        return Form(View(wanted), yaml, version)
    except ValueError:
        return None
