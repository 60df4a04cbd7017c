"""The image kubraft/web: a small HTTP server that says which Pod answered.

`/` answers with Pod, node and image tag; `/healthz` and `/readyz` with 200, and with 503 from
SIGTERM on, while `/` goes on for a lame-duck time (KUBRAFT_WEB_LAME_DUCK_S, default 1) so that
clients that still come are answered. It binds its Pod's address, port 8080 (`--port=N`), and says
what KUBRAFT_WEB_GREETING has, if anything.
"""

from __future__ import annotations

import os
import sys

from agents.runtime.builtin.http_server import Handler, HttpServer, Response, listen


def main(arguments: tuple[str, ...]) -> int:
    """Serve until SIGTERM; 0 after a clean stop, 1 where the port cannot be had."""
    port = 8080
    for argument in arguments:
        if argument.startswith("--port="):
            port = int(argument.removeprefix("--port="))
    address = os.environ.get("KUBRAFT_POD_IP", "127.0.0.1")
    try:
        listener = listen(address, port)
    except OSError as error:
        print(f"cannot listen on {address}:{port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"listening on {address}:{port}", flush=True)  # noqa: T201
    lame_duck_s = float(os.environ.get("KUBRAFT_WEB_LAME_DUCK_S", "1"))
    HttpServer(listener, _handler(), lame_duck_s=lame_duck_s, access_log=True).serve()
    print("stopped", flush=True)  # noqa: T201
    return 0


def _handler() -> Handler:
    image = os.environ.get("KUBRAFT_IMAGE", "kubraft/web")
    tag = image.rpartition("/")[2].partition(":")[2] or "latest"
    text = (
        f"pod: {os.environ.get('KUBRAFT_POD_NAME', '')}\n"
        f"namespace: {os.environ.get('KUBRAFT_POD_NAMESPACE', '')}\n"
        f"node: {os.environ.get('KUBRAFT_NODE_NAME', '')}\n"
        f"version: {tag}\n"
    )
    if said := os.environ.get("KUBRAFT_WEB_GREETING"):
        text += f"greeting: {said}\n"
    greeting = Response(200, text.encode())

    def handle(path: str, stopping: bool) -> Response:  # noqa: FBT001 - the Handler's shape
        if path == "/":
            return greeting
        if path in {"/healthz", "/readyz"}:
            return Response(503, b"stopping\n") if stopping else Response(200, b"ok\n")
        return Response(404, b"not found\n")

    return handle
