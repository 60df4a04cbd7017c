from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kubraft import ports


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(listener: int) -> None:
    assert not ports.is_free(listener)
    assert ports.first_taken([listener]) == listener


def test_the_holder_of_a_port_is_named(listener: int) -> None:
    holder = ports.find_holder(listener)
    assert holder is not None
    assert holder.pid == os.getpid()
    assert str(os.getpid()) in str(holder)


def test_a_free_port_has_no_holder() -> None:
    assert ports.find_holder(ports.free_block(random.Random(1)).ports[0]) is None


def test_a_block_is_given_once() -> None:
    block = ports.free_block(random.Random(7))
    other = ports.free_block(random.Random(7))
    assert not set(other.ports) & set(block.ports)


def choose_elsewhere(seed: int) -> list[int]:
    """The ports that a process of its own is given; it has ended."""
    block = f"ports.free_block(random.Random({seed}))"
    code = f"import random; from kubraft import ports; print(*{block}.ports)"
    command = [sys.executable, "-c", code]
    chosen = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return [int(port) for port in chosen.stdout.split()]


def test_a_block_is_not_given_to_another_process_as_well() -> None:
    block = ports.free_block(random.Random(8))
    assert not set(choose_elsewhere(8)) & set(block.ports)


def test_a_block_with_a_taken_port_is_not_given() -> None:
    first = choose_elsewhere(9)
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, first[40]))
        server.listen()
        assert not set(choose_elsewhere(9)) & set(first)


def test_blocks_stay_below_the_ports_of_outgoing_connections() -> None:
    block = ports.free_block(random.Random(3))
    assert min(block.ports) > 1024
    assert max(block.ports) < 32768
