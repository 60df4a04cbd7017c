"""Links of proxied pages that lead to the other end: they have to lead through the proxy. Pure.

Source: upstream's proxy.Transport: which attributes of which tags, and which URLs.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES: Final = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
# A comment, a tag, or the begin of one. Possessive where it could be slow.
_TAG: Final = re.compile(r"<!--.*?(?:-->|\Z)|<([a-zA-Z][a-zA-Z0-9]*+)([^<>]*+)>", re.DOTALL)
# A name alone matches too, else a long one would be looked at from each of its characters on.
_ATTRIBUTE: Final = re.compile(r"""([^\s=/>"']++)(?:(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>]++))?+""")
# What is between these is no markup.
_RAW: Final = ("script", "style", "textarea", "title", "xmp")

Rewrite = Callable[[str], str]


class Proxied(NamedTuple):
    """How a proxied server is known: to us, to the client; and where the client finds it."""

    backend: str  # host:port
    host: str  # of the client's request
    prefix: str  # path

    def rewrite(self, url: str) -> str:
        """A URL of the other end as the client has to ask for it; others stay as they are."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return url
        if parts.netloc and parts.netloc not in (self.backend, self.host):
            return url
        if not parts.path.startswith("/"):
            return url
        scheme, netloc = parts.scheme, parts.netloc
        if netloc != self.host or not netloc:
            scheme = netloc = ""
        path = parts.path
        if not path.startswith(self.prefix):
            joined = posixpath.normpath(f"{self.prefix}/{path.lstrip('/')}")
            path = f"{joined}/" if path.endswith("/") and not joined.endswith("/") else joined
        return urlunsplit((scheme, netloc, path, parts.query, parts.fragment))


def rewrite_page(page: bytes, rewrite: Rewrite) -> bytes:
    """A page of HTML with its links rewritten; nothing else of it changes."""
    text = page.decode("latin-1")  # whatever the encoding is: markup is ASCII in all that matter
    lower = text.lower()
    made: list[str] = []
    at = 0
    while (found := _TAG.search(text, at)) is not None:
        made.append(text[at : found.start()])
        name = (found[1] or "").lower()
        made.append(_tag(found, name, rewrite) if name in _ATTRIBUTES else found[0])
        at = found.end()
        if name in _RAW:
            end = lower.find(f"</{name}", at)
            end = len(text) if end < 0 else end
            made.append(text[at:end])
            at = end
    made.append(text[at:])
    return "".join(made).encode("latin-1", "xmlcharrefreplace")


def _tag(found: re.Match[str], name: str, rewrite: Rewrite) -> str:
    wanted = _ATTRIBUTES[name]

    def attribute(match: re.Match[str]) -> str:
        if not match[2] or match[1].lower() not in wanted:
            return match[0]
        value = match[3]
        mark = value[0] if value[0] in "\"'" else ""
        url = html.unescape(value[1:-1] if mark else value)
        changed = rewrite(url)
        if changed == url:
            return match[0]
        return f"{match[1]}{match[2]}{mark or chr(34)}{html.escape(changed)}{mark or chr(34)}"

    return f"<{found[1]}{_ATTRIBUTE.sub(attribute, found[2])}>"
