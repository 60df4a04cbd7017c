"""Links between members: in order, and cut, stalled, slow or (profile dup) repeated by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from store.raft.codec import decode, encode
from store.raft.messages import ForwardMessage, InstallSnapshot, Message
from tests.sim.clock import Clock

_Deliver = Callable[[int, int, Message], None]


@dataclass
class _Link:
    last: float = 0.0
    blocked: bool = False
    slow: float = 0.0
    # The connection's number; 0 while there is none.
    connection: int = 0
    stalled: list[tuple[int, Message]] = field(default_factory=list)


class Network:
    """One link for each ordered pair of members, like production's connections."""

    def __init__(
        self, clock: Clock, rng: random.Random, ids: list[int], *, latency: float, deliver: _Deliver
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._latency = latency
        self._deliver = deliver
        self._links = {(a, b): _Link() for a in ids for b in ids if a != b}
        self._connections = 0
        self.repeats = False
        self.jitter = True
        self.messages = 0

    def connect(self, sender: int, receiver: int) -> None:
        self._connections += 1
        link = self._links[sender, receiver]
        link.connection = self._connections
        link.stalled.clear()

    def connected(self, sender: int, receiver: int) -> bool:
        return self._links[sender, receiver].connection != 0

    def disconnect(self, sender: int, receiver: int) -> None:
        link = self._links[sender, receiver]
        link.connection = 0
        link.stalled.clear()

    def block(self, sender: int, receiver: int, *, blocked: bool) -> None:
        """Stall a link, as TCP does when packets are lost; later all comes at once."""
        link = self._links[sender, receiver]
        link.blocked = blocked
        if not blocked:
            stalled, link.stalled = link.stalled, []
            for connection, message in stalled:  # ahead of all that is still on its way
                self._arrive_at(self._clock.now, sender, receiver, connection, message)

    def slow_down(self, sender: int, receiver: int, seconds: float) -> None:
        self._links[sender, receiver].slow = seconds

    def heal(self) -> None:
        self.repeats = self.jitter = False
        for (sender, receiver), link in self._links.items():
            link.slow = 0.0
            self.block(sender, receiver, blocked=False)

    def send(self, sender: int, receiver: int, message: Message) -> None:
        link = self._links.get((sender, receiver))
        if link is None or not link.connection:
            return
        self.messages += 1
        message = decode(encode(message))
        self._route(sender, receiver, link.connection, message)
        if self._may_repeat(message) and self._rng.random() < 0.08:
            self._route(sender, receiver, link.connection, message)

    def send_file(self, sender: int, receiver: int, arrive: Callable[[], None]) -> None:
        """A stream beside the messages; it arrives whole, later, or not at all."""
        if self._rng.random() < 0.85:
            self._clock.after(self._latency * (2 + 10 * self._rng.random()), arrive)

    def _route(self, sender: int, receiver: int, connection: int, message: Message) -> None:
        link, rng = self._links[sender, receiver], self._rng
        delay = self._latency * (0.5 + rng.random()) + link.slow
        if self.jitter and rng.random() < 0.01:
            delay += rng.random() * 0.5
        time = self._clock.now + delay
        if self._may_repeat(message):
            if rng.random() < 0.1:
                time += rng.random() * 1.5
        else:
            time = link.last = max(time, link.last + 1e-6)
        self._arrive_at(time, sender, receiver, connection, message)

    def _arrive_at(
        self, time: float, sender: int, receiver: int, connection: int, message: Message
    ) -> None:
        self._clock.at(time, lambda: self._arrive(sender, receiver, connection, message))

    def _may_repeat(self, message: Message) -> bool:
        """What the library says may come twice or late; a connection never repeats a proposal."""
        return self.repeats and not isinstance(message, ForwardMessage)

    def _arrive(self, sender: int, receiver: int, connection: int, message: Message) -> None:
        link = self._links[sender, receiver]
        if not self._may_repeat(message) and link.connection != connection:
            return
        if link.blocked:
            link.stalled.append((connection, message))
            return
        assert not isinstance(message, InstallSnapshot)
        self._deliver(sender, receiver, message)
