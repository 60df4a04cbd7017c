"""What programs do with a Pod by Python's clients: `KUBECONFIG NAMESPACE POD`, which serves 8080.

A process of its own, for clients leave sockets and threads behind. It ends with status 0 when all
came out as said here.
"""

from __future__ import annotations

import asyncio
import io
import sys
import urllib.request
from typing import Any

import pytest

OUT = "one\n"
COMMAND = ["sh", "-c", "echo one; echo two >&2; exit 3"]


def official(kubeconfig: str, namespace: str, pod: str) -> None:
    from kubernetes import client, config
    from kubernetes.client import ApiException
    from kubernetes.stream import portforward, stream

    core = client.CoreV1Api(config.new_client_from_config(kubeconfig))
    call = core.connect_get_namespaced_pod_exec
    how: dict[str, Any] = {"stderr": True, "stdin": False, "stdout": True, "tty": False}
    said = stream(call, pod, namespace, command=COMMAND, **how)
    assert sorted(said.split()) == ["one", "two"], said
    session = stream(
        call, pod, namespace, command=["cat"], _preload_content=False, **{**how, "stdin": True}
    )
    session.write_stdin("hello\n")
    assert session.readline_stdout(timeout=60) == "hello"
    session.close()
    ended = stream(call, pod, namespace, command=COMMAND, _preload_content=False, **how)
    ended.run_forever(timeout=60)
    assert (ended.returncode, ended.read_stdout(), ended.read_stderr()) == (3, OUT, "two\n")
    with pytest.raises(ApiException, match="404"):
        stream(call, "nobody", namespace, command=COMMAND, **how)
    connection = portforward(
        core.connect_get_namespaced_pod_portforward, pod, namespace, ports="8080"
    )
    there = connection.socket(8080)
    there.setblocking(True)
    there.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := there.recv(4096):
        answer += data
    assert f"pod: {pod}".encode() in answer, answer
    assert connection.error(8080) is None
    there.close()
    text = core.connect_get_namespaced_pod_proxy(f"{pod}:8080", namespace)
    assert f"pod: {pod}" in text


async def asynchronous(kubeconfig: str, namespace: str, pod: str) -> None:
    from kubernetes_asyncio import client, config
    from kubernetes_asyncio.stream import WsApiClient

    settings: Any = type.__call__(client.Configuration)
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    async with WsApiClient(configuration=settings) as api:
        core = client.CoreV1Api(api)
        call = core.connect_get_namespaced_pod_exec
        how: dict[str, Any] = {"stderr": True, "stdin": False, "stdout": True, "tty": False}
        said = await call(pod, namespace, command=COMMAND, **how)
        assert sorted(said.split()) == ["one", "two"], said
        session = await call(
            pod, namespace, command=["cat"], _preload_content=False, **{**how, "stdin": True}
        )
        async with session as line:
            await line.send_bytes(b"\0hello")
            said = b""
            while said != b"\1hello":  # each channel opens with an empty message, as upstream
                said = (await line.receive(timeout=60)).data
                assert said in (b"\1", b"\2", b"\3", b"\1hello"), said


def light(kubeconfig: str, namespace: str, pod: str) -> None:
    from lightkube import Client, KubeConfig

    client = Client(KubeConfig.from_file(kubeconfig), namespace=namespace)
    done = client.exec(pod, command=COMMAND, stdout=True, stderr=True, timeout=60)
    assert (done.exit_code, done.stdout, done.stderr) == (3, OUT, "two\n"), done
    much = bytes(range(256)) * 4096
    back = io.BytesIO()
    client.exec(pod, command=["cat"], stdin=much, stdout=back, decode=None, timeout=60)
    assert back.getvalue() == much


async def third(kubeconfig: str, namespace: str, pod: str) -> None:
    import kr8s.asyncio
    from kr8s.asyncio.objects import Pod

    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    found = await Pod.get(pod, namespace=namespace, api=api)
    done = await found.exec(COMMAND, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"one\n", b"two\n"), done
    async with found.portforward(8080, local_port="auto") as port:
        answer = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
        )
        assert f"pod: {pod}".encode() in answer


def main() -> None:
    kubeconfig, namespace, pod = sys.argv[1:4]
    official(kubeconfig, namespace, pod)
    light(kubeconfig, namespace, pod)
    asyncio.run(asynchronous(kubeconfig, namespace, pod))
    asyncio.run(third(kubeconfig, namespace, pod))


if __name__ == "__main__":
    main()
