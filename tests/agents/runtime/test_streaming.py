"""exec, attach and port-forward at the runtime's URLs, with a real WebSocket client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from agents.runtime.process_tree import children
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri, is_alive, until

pytestmark = pytest.mark.e2e

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
WAIT_S = 30


class Channels:
    """A client's end: what came, by channel."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.came = dict.fromkeys(range(8), b"")
        self.messages = 0

    async def say(self, channel: int, data: bytes) -> None:
        await self.socket.send_bytes(bytes((channel,)) + data)

    async def hear(self) -> bool:
        message = await asyncio.wait_for(self.socket.receive(), WAIT_S)
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        self.messages += 1
        self.came[message.data[0]] += message.data[1:]
        return True

    async def until(self, channel: int, text: bytes) -> bytes:
        while text not in self.came[channel]:
            assert await self.hear(), self.came
        return self.came[channel]

    async def end(self) -> dict[str, Any]:
        """The Status at the end."""
        while await self.hear():
            pass
        return json.loads(self.came[ERROR]) if self.came[ERROR] else {}


@asynccontextmanager
async def connected(
    url: str, *protocols: str, origin: str | None = None
) -> AsyncIterator[Channels]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url, protocols=protocols or (V5,), max_msg_size=0, origin=origin
        ) as socket,
    ):
        assert socket.protocol == (protocols or (V5,))[-1]
        yield Channels(socket)


async def exec_url(client: Cri, container: str, *cmd: str, **streams: bool) -> str:
    wanted = {"stdout": True, "stderr": not streams.get("tty"), **streams}
    request = cri.ExecRequest(container_id=container, cmd=cmd, **wanted)
    return (await client.runtime.Exec(request)).url


async def attach_url(client: Cri, container: str, **streams: bool) -> str:
    wanted = {"stdout": True, "stderr": not streams.get("tty"), **streams}
    return (await client.runtime.Attach(cri.AttachRequest(container_id=container, **wanted))).url


async def executed(client: Cri, container: str, *cmd: str, **streams: bool) -> Channels:
    async with connected(await exec_url(client, container, *cmd, **streams)) as channels:
        channels.status = await channels.end()  # type: ignore[attr-defined]
        return channels


async def sleeper(client: Cri, **config: Any) -> str:
    return await client.run(await client.sandbox(), "sleep", "1000", **config)


@pytest.mark.parametrize("protocol", [V5, V4])
async def test_a_commands_output_and_success(node: Cri, protocol: str) -> None:
    client = node
    container = await sleeper(client, envs=[cri.KeyValue(key="WHO", value=b"me")])
    url = await exec_url(client, container, "sh", "-c", "echo out $WHO; echo err >&2")
    async with connected(url, protocol) as channels:
        assert await channels.end() == {"metadata": {}, "status": "Success"}
    assert (channels.came[STDOUT], channels.came[STDERR]) == (b"out me\n", b"err\n")


async def test_an_exit_code_is_a_cause(client: Cri) -> None:
    container = await sleeper(client)
    async with connected(await exec_url(client, container, "sh", "-c", "exit 42")) as channels:
        status = await channels.end()
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "42"}]
    assert status["message"].startswith("command terminated with non-zero exit code: ")


async def test_a_command_that_is_not_there(client: Cri) -> None:
    container = await sleeper(client)
    async with connected(await exec_url(client, container, "no-such-program")) as channels:
        status = await channels.end()
    assert (status["reason"], status["code"]) == ("InternalError", 500)
    assert status["message"].startswith(
        "Internal error occurred: error executing command in container: failed to exec"
    )
    text = 'exec: "no-such-program": executable file not found in $PATH'
    assert status["message"].endswith(text)


async def test_input_goes_in_and_its_end_too(node: Cri) -> None:
    client = node
    container = await sleeper(client)
    url = await exec_url(client, container, "sh", "-c", "cat; echo over", stdin=True)
    async with connected(url) as channels:
        await channels.say(STDIN, b"one\n")
        await channels.until(STDOUT, b"one\n")
        await channels.say(STDIN, b"two\n")
        await channels.say(CLOSE, bytes((STDIN,)))
        assert (await channels.end())["status"] == "Success"
    assert channels.came[STDOUT] == b"one\ntwo\nover\n"


async def test_megabytes_both_ways_arrive_unchanged(client: Cri) -> None:
    container = await sleeper(client)
    data = bytes(range(256)) * 4096 * 8
    url = await exec_url(client, container, "cat", stdin=True)
    async with connected(url) as channels:

        async def say() -> None:
            for start in range(0, len(data), 100_000):
                await channels.say(STDIN, data[start : start + 100_000])
            await channels.say(CLOSE, bytes((STDIN,)))

        saying = asyncio.create_task(say())
        assert (await channels.end())["status"] == "Success"
        await saying
    assert channels.came[STDOUT] == data


async def test_all_output_comes_to_a_client_that_reads_late(client: Cri) -> None:
    container = await sleeper(client)
    url = await exec_url(client, container, "sh", "-c", "head -c 3000000 /dev/zero; exit 3")
    async with connected(url) as channels:
        await asyncio.sleep(1.5)
        assert (await channels.end())["reason"] == "NonZeroExitCode"
    assert len(channels.came[STDOUT]) == 3_000_000


async def test_a_terminal_with_its_size(node: Cri) -> None:
    client = node
    container = await sleeper(client)
    script = "stty -echo; trap 'stty size' WINCH; echo ready; while read x; do echo got $x; done"
    url = await exec_url(client, container, "bash", "-c", script, stdin=True, tty=True)
    async with connected(url) as channels:
        await channels.until(STDOUT, b"ready\r\n")
        await channels.say(RESIZE, b'{"Width":132,"Height":43}\n')
        await channels.say(STDIN, b"hello\n")
        await channels.until(STDOUT, b"got hello\r\n")
        await channels.say(STDIN, b"\n")
        await channels.until(STDOUT, b"43 132\r\n")
        await channels.say(STDIN, b"\x04")
        assert (await channels.end())["status"] == "Success"


async def test_a_terminals_interrupt_reaches_the_program(client: Cri) -> None:
    container = await sleeper(client)
    script = "trap 'exit 7' INT; echo on; while :; do sleep 0.05; done"
    url = await exec_url(client, container, "sh", "-c", script, stdin=True, tty=True)
    async with connected(url) as channels:
        await channels.until(STDOUT, b"on\r\n")
        await channels.say(STDIN, b"\x03")
        status = await channels.end()
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_the_containers_end_ends_its_commands(node: Cri) -> None:
    client = node
    container = await sleeper(client)
    url = await exec_url(client, container, "sh", "-c", "echo on; sleep 99")
    async with connected(url) as channels:
        await channels.until(STDOUT, b"on\n")
        await client.stop(container)
        status = await channels.end()
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]


async def test_a_client_that_goes_takes_its_command_along(client: Cri) -> None:
    container = await sleeper(client)
    init = await client.pid(container)
    async with connected(await exec_url(client, container, "sleep", "98")) as channels:
        await channels.hear()
        await until(lambda: _sleepers(init, "98"))
        (command,) = _sleepers(init, "98")
    await until(lambda: not is_alive(command))


def _sleepers(init: int, seconds: str) -> list[int]:
    """The processes that are `sleep SECONDS` by now."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children(init)}
    return [pid for pid, words in lines.items() if words[:2] == ["sleep", seconds]]


async def test_a_command_is_where_its_container_is(client: Cri) -> None:
    container = await sleeper(client, working_dir="/tmp")
    inside = await client.execute(container, "sh", "-c", "echo kept > mark")
    assert inside.exit_code == 0
    url = await exec_url(client, container, "sh", "-c", "pwd; cat /tmp/mark; echo $0-$$; hostname")
    async with connected(url) as channels:
        await channels.end()
    assert channels.came[STDOUT].decode().split("\n")[:2] == ["/tmp", "kept"]


async def test_an_attached_client_hears_and_types(node: Cri) -> None:
    client = node
    script = "while read line; do echo heard $line; echo oops >&2; done; echo over"
    container = await client.run(
        await client.sandbox("attached"), "sh", "-c", script, stdin=True, stdin_once=True
    )
    async with connected(await attach_url(client, container, stdin=True)) as channels:
        await channels.say(STDIN, b"this\n")
        await channels.until(STDOUT, b"heard this\n")
        await channels.until(STDERR, b"oops\n")
        await channels.say(CLOSE, bytes((STDIN,)))
        assert (await channels.end())["status"] == "Success"
    assert channels.came[STDOUT] == b"heard this\nover\n"
    assert "heard this" in client.lines("attached")
    assert (await client.exited(container)).exit_code == 0


async def test_input_stays_open_for_the_next_who_attaches(client: Cri) -> None:
    script = "while read line; do echo heard $line; done"
    container = await client.run(await client.sandbox(), "sh", "-c", script, stdin=True)
    for word in (b"first", b"second"):
        async with connected(await attach_url(client, container, stdin=True)) as channels:
            await channels.say(STDIN, word + b"\n")
            await channels.until(STDOUT, b"heard " + word)
    assert (await client.status(container)).state == cri.CONTAINER_RUNNING


async def test_a_terminal_of_the_container_itself(node: Cri) -> None:
    client = node
    container = await client.run(
        await client.sandbox(), "bash", "--norc", "-i", stdin=True, stdin_once=True, tty=True
    )
    async with connected(await attach_url(client, container, stdin=True, tty=True)) as channels:
        await channels.say(RESIZE, b'{"Width":101,"Height":31}')
        await channels.say(STDIN, b"stty size; tty; exit 5\n")
        await channels.until(STDOUT, b"31 101\r\n")
        await channels.end()
    assert (await client.exited(container)).exit_code == 5


async def test_two_clients_hear_the_same_and_a_slow_one_loses_nothing(client: Cri) -> None:
    script = "read go; for i in $(seq 20000); do echo line $i of many; done"
    container = await client.run(await client.sandbox(), "sh", "-c", script, stdin=True)
    async with (
        connected(await attach_url(client, container, stdin=True)) as one,
        connected(await attach_url(client, container)) as other,
    ):
        await asyncio.gather(one.hear(), other.hear())  # both are there
        await one.say(STDIN, b"go\n")
        ending = asyncio.create_task(one.end())
        await asyncio.sleep(0.5)
        await asyncio.gather(ending, other.end())
    whole = "".join(f"line {i} of many\n" for i in range(1, 20_001)).encode()
    assert one.came[STDOUT] == whole
    assert other.came[STDOUT] == whole


async def test_forwarding_by_channels(client: Cri) -> None:
    sandbox = await client.sandbox()
    await client.run(sandbox, image="kubraft/web")
    address = await client.address(sandbox)
    await listening(address, 8080)
    request = cri.PortForwardRequest(pod_sandbox_id=sandbox, port=[8080, 9])
    url = (await client.runtime.PortForward(request)).url
    async with connected(url, V4) as channels:
        await channels.say(0, b"GET /healthz HTTP/1.0\r\n\r\n")
        while await channels.hear():
            pass
    port = (8080).to_bytes(2, "little")
    assert channels.came[0].startswith(port + b"HTTP/1.")
    assert channels.came[1] == port
    assert channels.came[2] == (9).to_bytes(2, "little")
    assert b"error forwarding port 9 to pod" in channels.came[3]
    assert b"connection refused" in channels.came[3]


async def listening(address: str, port: int) -> None:
    for _attempt in range(1000):
        try:
            _reader, writer = await asyncio.open_connection(address, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise AssertionError(f"nobody listens on {address}:{port}")


@pytest.mark.parametrize(
    ("cmd", "streams", "code", "text"),
    [
        pytest.param([], {"stdout": True}, "INVALID_ARGUMENT", "command is required", id="none"),
        pytest.param(
            ["a"],
            {"tty": True, "stderr": True},
            "INVALID_ARGUMENT",
            "tty and stderr cannot both be true",
            id="tty and stderr",
        ),
        pytest.param(
            ["a"],
            {},
            "INVALID_ARGUMENT",
            "one of stdin, stdout, or stderr must be set",
            id="no stream",
        ),
    ],
)
async def test_what_is_no_exec(
    client: Cri, cmd: list[str], streams: dict[str, bool], code: str, text: str
) -> None:
    container = await sleeper(client)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.runtime.Exec(cri.ExecRequest(container_id=container, cmd=cmd, **streams))
    assert (caught.value.code().name, caught.value.details()) == (code, text)


async def test_a_url_is_good_once_and_for_what_it_was_given(client: Cri) -> None:
    container = await sleeper(client)
    url = await exec_url(client, container, "true")
    other = await exec_url(client, container, "true")
    async with aiohttp.ClientSession() as session:
        async with connected(url) as channels:
            await channels.end()
        for bad in (url, other.replace("/exec/", "/attach/"), url[:-1], url + "/x"):
            async with session.get(bad) as answer:
                assert answer.status == 404
        async with session.get(await exec_url(client, container, "true")) as answer:
            assert (answer.status, await answer.text()) == (400, "Upgrade request required\n")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(
                await exec_url(client, container, "true"), protocols=("v9.channel.k8s.io",)
            )
        assert caught.value.status in (400, 403)
