"""How each kind of probe (and lifecycle hook) asks: HTTP, TCP, a command, gRPC health.

Every function returns an Outcome and raises nothing but cancellation. Texts are upstream's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agents.node.probe import Outcome

Execute = Callable[[list[str], float], Awaitable[tuple[int, str]]]  # -> exit code, output
_BODY_BYTES_MAX = 10 * 1024
_OUTPUT_CHARS_MAX = 10 * 1024
_DEADLINE = "context deadline exceeded"


async def probe(
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
    address: str,
    timeout_s: float,
    execute: Execute,
) -> Outcome:
    """Try a Probe (or hook) once.

    Args:
        spec: has one of exec, httpGet, tcpSocket, grpc.
        container: whose ports the names of ports are looked up in.
        address: the Pod's.
        timeout_s: of this try.
        execute: runs a command in the container.
    """
    try:
        if "exec" in spec:
            return await _exec(spec["exec"].get("command") or [], timeout_s, execute)
        if "httpGet" in spec:
            return await _http(spec["httpGet"], container, address, timeout_s)
        if "tcpSocket" in spec:
            target = spec["tcpSocket"]
            port = port_number(target["port"], container)
            return await _tcp(target.get("host") or address, port, timeout_s)
        if "grpc" in spec:
            return await _grpc(spec["grpc"], address, timeout_s)
    except ValueError as error:
        return Outcome(False, str(error))
    return Outcome(False, "missing probe handler")


def port_number(port: int | str, container: Mapping[str, Any]) -> int:
    """A port's number, by number or by its name in the container.

    Raises:
        ValueError: there is no such name.
    """
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"couldn't find port: {port}")


async def _exec(command: list[str], timeout_s: float, execute: Execute) -> Outcome:
    try:
        code, output = await execute(command, timeout_s)
    except TimeoutError:
        words = " ".join(command)
        return Outcome(False, f'command timed out: "{words}" timed out after {timeout_s:g}s')
    except OSError as error:
        return Outcome(False, str(error))
    return Outcome(code == 0, output[:_OUTPUT_CHARS_MAX])


async def _tcp(host: str, port: int, timeout_s: float) -> Outcome:
    where = _host_port(host, port)
    try:
        async with asyncio.timeout(timeout_s):
            _reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {where}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {where}: connect: {_words(error)}")
    await _close(writer)
    return Outcome(True)


async def _http(
    spec: Mapping[str, Any], container: Mapping[str, Any], address: str, timeout_s: float
) -> Outcome:
    answer = await http_answer(spec, container, address, timeout_s)
    if isinstance(answer, Outcome):
        return answer
    status, body = answer
    if 200 <= status < 400:
        return Outcome(True, body)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def http_answer(
    spec: Mapping[str, Any], container: Mapping[str, Any], address: str, timeout_s: float
) -> tuple[int, str] | Outcome:
    """Status and body of an HTTPGetAction's answer, or why there was none.

    Raises:
        ValueError: its port's name is not known.
    """
    host = spec.get("host") or address
    port = port_number(spec["port"], container)
    scheme = (spec.get("scheme") or "HTTP").lower()
    path = "/" + (spec.get("path") or "/").lstrip("/")
    url = f"{scheme}://{_host_port(host, port)}{path}"
    try:
        async with asyncio.timeout(timeout_s):
            return await _http_get(spec, host, port, path, tls=scheme == "https")
    except TimeoutError:
        waiting = "(Client.Timeout exceeded while awaiting headers)"
        return Outcome(False, f'Get "{url}": {_DEADLINE} {waiting}')
    except ConnectionRefusedError as error:
        where = _host_port(host, port)
        return Outcome(False, f'Get "{url}": dial tcp {where}: connect: {_words(error)}')
    except (OSError, EOFError) as error:
        return Outcome(False, f'Get "{url}": {_words(error)}')


async def _http_get(
    spec: Mapping[str, Any], host: str, port: int, path: str, *, tls: bool
) -> tuple[int, str]:
    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False  # as upstream: a probe asks for life, not for identity
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        headers = {"Host": _host_port(host, port), "User-Agent": "kube-probe/1.37", "Accept": "*/*"}
        for header in spec.get("httpHeaders") or ():
            headers[header["name"].title()] = header.get("value", "")
        lines = [f"GET {path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        request = "\r\n".join([*lines, "Connection: close", "", ""])
        writer.write(request.encode("latin-1", errors="replace"))
        await writer.drain()
        first = (await reader.readline()).decode("latin-1").split(" ", 2)
        if len(first) < 2 or not first[0].startswith("HTTP/") or not first[1].isdigit():
            raise OSError(errno.EPROTO, "malformed HTTP response")
        while (await reader.readline()).strip():
            pass
        body = await reader.read(_BODY_BYTES_MAX)
        return int(first[1]), body.decode(errors="replace")
    finally:
        await _close(writer)


async def _grpc(spec: Mapping[str, Any], address: str, timeout_s: float) -> Outcome:
    import grpc  # noqa: PLC0415 - few Pods have such a probe
    import grpc.aio  # noqa: PLC0415
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    target = _host_port(address, int(spec["port"]))
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=spec.get("service") or "")
        try:
            answer = await stub.Check(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return Outcome(
                    False, "error: this server does not implement the grpc health protocol"
                )
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return Outcome(
                    False, f'timeout: failed to connect service "{target}" within {timeout_s:g}s'
                )
            return Outcome(False, f"error: health rpc probe failed: {error.details()}")
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Outcome(True, "service healthy")
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Outcome(False, f'service unhealthy (responded with "{name}")')


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "EOF"
