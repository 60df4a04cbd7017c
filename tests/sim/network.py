"""Links between members: in order, and cut, stalled, slow or (profile dup) repeated by chance."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from store.raft.codec import decode, encode
from store.raft.messages import ForwardMessage, InstallSnapshot, Message
from tests.sim.clock import Clock

_Deliver = Callable[[int, int, Message], None]


@dataclass
class _Link:
    blocked: bool = False
    slow: float = 0.0
    # The connection's number; 0 while there is none.
    connection: int = 0
    # What is under way on this connection, in order, with the time when it may arrive.
    queue: deque[tuple[float, Message]] = field(default_factory=deque)
    # What need not keep its order and arrived in a stall; only while messages are repeated.
    stalled: list[Message] = field(default_factory=list)


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
        self._renew(sender, receiver, self._connections)

    def connected(self, sender: int, receiver: int) -> bool:
        return self._links[sender, receiver].connection != 0

    def disconnect(self, sender: int, receiver: int) -> None:
        self._renew(sender, receiver, 0)

    def block(self, sender: int, receiver: int, *, blocked: bool) -> None:
        """Stall a link, as TCP does when packets are lost; later all comes at once, in order."""
        link = self._links[sender, receiver]
        link.blocked = blocked
        if not blocked:
            self._clock.after(
                self._latency * self._rng.random(), lambda: self._drain(sender, receiver)
            )
            stalled, link.stalled = link.stalled, []
            for message in stalled:
                self._route(sender, receiver, message)

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
        if not self._may_repeat(message):
            last = link.queue[-1][0] if link.queue else 0.0
            time = max(self._clock.now + self._delay(link), last)
            link.queue.append((time, message))
            self._clock.at(time, lambda: self._drain(sender, receiver))
            return
        self._route(sender, receiver, message)
        if self._rng.random() < 0.08:
            self._route(sender, receiver, message)

    def send_file(self, sender: int, receiver: int, arrive: Callable[[], None]) -> None:
        """A stream beside the messages; it arrives whole, later, or not at all."""
        if self._rng.random() < 0.85:
            self._clock.after(self._latency * (2 + 10 * self._rng.random()), arrive)

    def _renew(self, sender: int, receiver: int, connection: int) -> None:
        link = self._links[sender, receiver]
        link.connection = connection
        link.queue.clear()
        link.stalled.clear()

    def _delay(self, link: _Link) -> float:
        delay = self._latency * (0.5 + self._rng.random()) + link.slow
        if self.jitter and self._rng.random() < 0.01:
            delay += self._rng.random() * 0.5
        return delay

    def _drain(self, sender: int, receiver: int) -> None:
        """Deliver, in order, what has had its time."""
        link = self._links[sender, receiver]
        while not link.blocked and link.queue and link.queue[0][0] <= self._clock.now:
            self._deliver(sender, receiver, link.queue.popleft()[1])

    def _may_repeat(self, message: Message) -> bool:
        """What the library says may come twice or late; a connection never repeats a proposal."""
        return self.repeats and not isinstance(message, ForwardMessage)

    def _route(self, sender: int, receiver: int, message: Message) -> None:
        """Let a message arrive by itself, perhaps behind later ones, whatever the connection."""
        delay = self._delay(self._links[sender, receiver])
        if self._rng.random() < 0.1:
            delay += self._rng.random() * 1.5
        self._clock.after(delay, lambda: self._arrive(sender, receiver, message))

    def _arrive(self, sender: int, receiver: int, message: Message) -> None:
        link = self._links[sender, receiver]
        if link.blocked:
            link.stalled.append(message)
            return
        assert not isinstance(message, InstallSnapshot)
        self._deliver(sender, receiver, message)
