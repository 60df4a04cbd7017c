"""What goes wrong, when, and for how long: drawn from the seed, by profile."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.cluster import Cluster

PROFILES = (
    *("calm", "resets", "tcp", "churn", "dup", "power"),
    *("snapshots", "leases", "members", "learner"),
)


class Faults:
    """Breaks `cluster` at random moments until `stop`, then heals it."""

    def __init__(self, cluster: Cluster, profile: str) -> None:
        self._cluster = cluster
        self._rng = cluster.rng
        self._profile = profile
        self._stopped = False
        gaps = {"churn": (0.1, 0.2, 0.4), "power": (0.3, 0.6), "resets": (0.5, 1.0)}
        self._gap = self._rng.choice(gaps.get(profile, (0.3, 0.8, 2.0)))
        self.count = 0

    def begin(self) -> None:
        if self._profile == "calm":
            return
        cluster, rng = self._cluster, self._rng
        cluster.network.repeats = self._profile == "dup"
        if self._profile == "resets":
            self._later(self._rng.random() * self._gap, self._next)
            return
        chances = (0.002, 0.005) if self._profile == "power" else (0.0, 0.0005, 0.002)
        cluster.crash_chance = rng.choice(chances)
        self._later(rng.random() * self._gap, self._next)

    def stop(self) -> None:
        """Heal everything and start every member; a pause ends when it ends."""
        self._stopped = True
        cluster = self._cluster
        cluster.crash_chance = 0.0
        cluster.network.heal()
        cluster.join_all()
        for member_id in cluster.ids:
            cluster.start(member_id)

    def _later(self, delay: float, event: Callable[[], None]) -> None:
        self._cluster.clock.after(delay, lambda: None if self._stopped else event())

    def _next(self) -> None:
        self._later(self._rng.random() * self._gap * 2, self._next)
        self.count += 1
        if self._profile == "resets":
            self._reset()
            return
        kinds = [self._crash, self._crash, self._stall, self._stall_member, self._pause]
        if self._profile in ("churn", "power"):
            kinds += [self._crash] * 6
        if self._profile == "snapshots":
            kinds += [self._crash, self._stall, self._stall_member, self._split]
        kinds += [self._crash_all, self._split, self._split, self._reset, self._slow]
        self._rng.choice(kinds)()

    def _victim(self) -> int:
        leaders = self._cluster.leaders()
        if leaders and self._rng.random() < 0.5:
            return self._rng.choice(leaders).id
        return self._rng.choice(self._cluster.ids)

    def _pair(self) -> tuple[int, int]:
        victim = self._victim()
        other = self._rng.choice([member for member in self._cluster.ids if member != victim])
        return (victim, other) if self._rng.random() < 0.5 else (other, victim)

    def _crash(self) -> None:
        victim, rng = self._victim(), self._rng
        fast = self._profile == "churn" and rng.random() < 0.8
        down_s = 0.005 + rng.random() * (0.15 if fast else rng.choice((0.3, 3.0)))
        self._cluster.crash(victim)
        self._cluster.clock.after(down_s, lambda: self._cluster.start(victim))

    def _crash_all(self) -> None:
        for member in list(self._cluster.members):
            self._cluster.crash(member)
        for member in self._cluster.ids:
            self._restart_later(member)

    def _restart_later(self, member: int) -> None:
        delay = 0.05 + self._rng.random() * 0.8
        self._cluster.clock.after(delay, lambda: self._cluster.start(member))

    def _split(self) -> None:
        """Part the members in two; half of the time the connections break, else they stall."""
        rng, ids = self._rng, self._cluster.ids[:]
        rng.shuffle(ids)
        cut = rng.randint(1, len(ids) - 1)
        pairs = [(a, b) for a in ids[:cut] for b in ids[cut:]]
        seconds, hard = rng.random() * rng.choice((0.5, 3.0)), rng.random() < 0.5
        for a, b in pairs:
            for sender, receiver in ((a, b), (b, a)):
                if hard:
                    self._part(sender, receiver, seconds)
                else:
                    self._block(sender, receiver, seconds)

    def _part(self, sender: int, receiver: int, seconds: float) -> None:
        self._cluster.part(sender, receiver)
        self._later(seconds, lambda: self._cluster.join(sender, receiver))

    def _block(self, sender: int, receiver: int, seconds: float) -> None:
        network = self._cluster.network
        network.block(sender, receiver, blocked=True)
        self._later(seconds, lambda: network.block(sender, receiver, blocked=False))

    def _stall(self) -> None:
        """One direction of one link; it may end in a broken connection."""
        sender, receiver = self._pair()
        seconds = self._rng.random() * self._rng.choice((0.3, 2.0, 4.0))
        if self._rng.random() < 0.3:
            self._later(seconds, lambda: self._cluster.cut(sender, receiver))
        self._block(sender, receiver, seconds + 0.001)

    def _stall_member(self) -> None:
        """All that one member sends, or all that it should receive."""
        victim, outgoing = self._victim(), self._rng.random() < 0.5
        seconds = self._rng.random() * 2.5
        for other in self._cluster.ids:
            if other != victim:
                pair = (victim, other) if outgoing else (other, victim)
                self._block(*pair, seconds)

    def _pause(self) -> None:
        victim = self._cluster.members.get(self._victim())
        if victim is not None:
            victim.paused_until = self._cluster.clock.now + self._rng.random() * 2.5

    def _reset(self) -> None:
        self._cluster.cut(*self._pair())

    def _slow(self) -> None:
        self._cluster.network.slow_down(*self._pair(), self._rng.choice((0.0, 0.1, 0.4)))
