"""A stand-in for the image nginx: static files from its html directory on port 80.

An ordinary user may not bind ports below 1024 on most machines; it then listens on 8080 and says
so in its log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agents.runtime.builtin.http_server import Handler, HttpServer, Response, listen

_ROOT = Path("/usr/share/nginx/html")
_FILE_BYTES_MAX = 64 * 1024 * 1024
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_WELCOME = b"""<!DOCTYPE html>
<html><head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1><p>This is Kubraft's stand-in for it.</p></body></html>
"""


def main(_arguments: tuple[str, ...]) -> int:
    """Serve until SIGTERM; 0 after a clean stop, 1 where no port can be had."""
    address = os.environ.get("KUBRAFT_POD_IP", "127.0.0.1")
    try:
        try:
            listener = listen(address, 80)
        except PermissionError:
            print("no permission for port 80, using 8080", file=sys.stderr, flush=True)  # noqa: T201
            listener = listen(address, 8080)
    except OSError as error:
        print(f"cannot listen on {address}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    HttpServer(listener, static_files(_ROOT), lame_duck_s=0.5, access_log=True).serve()
    return 0


def static_files(root: Path) -> Handler:
    """Answers with the files below `root`; the welcome page where there is no index."""

    def handle(path: str, _stopping: bool) -> Response:  # noqa: FBT001 - the Handler's shape
        file = (root / path.lstrip("/")).resolve()
        if file.is_dir():
            file = file / "index.html"
        inside = file.is_relative_to(root.resolve())
        try:
            if inside and file.stat().st_size <= _FILE_BYTES_MAX:
                kind = _TYPES.get(file.suffix, "application/octet-stream")
                return Response(200, file.read_bytes(), kind)
        except OSError:
            pass
        if path in {"/", "/index.html"}:
            return Response(200, _WELCOME, "text/html")
        return Response(404, b"404 Not Found\n")

    return handle
