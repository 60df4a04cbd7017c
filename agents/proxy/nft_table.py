"""Keeps one table of the kernel's as a ruleset says, through the program `nft`.

Only this table is read or written. Each change is one transaction. After a failure the table is
read anew and made right whole, so nothing that somebody else did to it stays.

Source: nft(8); knftables, which kube-proxy uses, runs the same program.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agents.proxy.ruleset import TABLE, Ruleset
from agents.proxy.service_ports import Family
from agents.proxy.transaction import Stale, deletion, over, stale_after, step, whole
from kubraft.log import get_logger
from kubraft.program import ProgramError, run_program

# More than the slowest whole table took by far.
_TIMEOUT_S: Final = 60.0
_MESSAGE_CHARS_MAX: Final = 500
# Whose first rules stand for the whole table when it is looked at.
_VERIFIED: Final = ("nat-prerouting", "services")

# Runs nft with these arguments and this standard input; what it writes.
Nft = Callable[[Sequence[str], str], Awaitable[bytes]]


class NftError(Exception):
    """nft cannot be run, or refused; the message is its own."""


@dataclass(frozen=True, slots=True)
class NftProgram:
    """The program; `command` may put another before it, such as one that enters a namespace."""

    command: tuple[str, ...] = ("nft",)

    async def __call__(self, arguments: Sequence[str], stdin: str) -> bytes:
        """Run it.

        Raises:
            NftError: it cannot be run, takes too long, or its status is not 0.
        """
        try:
            return await run_program(
                self.command,
                arguments,
                stdin=stdin,
                timeout_s=_TIMEOUT_S,
                message_chars_max=_MESSAGE_CHARS_MAX,
            )
        except ProgramError as error:
            raise NftError(str(error)) from error


async def why_not(nft: Nft) -> str:
    """Why rules cannot be made here, for a person; "" where they can."""
    if isinstance(nft, NftProgram) and shutil.which(nft.command[0]) is None:
        return "the program nft is not installed"
    # All that the rules need, in a table that is not made: the check is nft's and the kernel's.
    trial = (
        f"add table ip {TABLE}-check\n"
        f"add chain ip {TABLE}-check nat {{ type nat hook output priority -100; }}\n"
        f"add map ip {TABLE}-check m {{ type ipv4_addr . inet_proto . inet_service : verdict; }}\n"
        f"add rule ip {TABLE}-check nat ip daddr . meta l4proto . th dport vmap @m\n"
        f"add rule ip {TABLE}-check nat numgen random mod 1 vmap {{ 0 : accept }}\n"
        f"add rule ip {TABLE}-check nat fib daddr type local meta l4proto tcp dnat to 192.0.2.1:1\n"
    )
    try:
        await nft(("--check", "-f", "-"), trial)
    except NftError as error:
        return f"nft refuses: {error}"
    return ""


class NftTable:
    """One family's table. Calls must not overlap."""

    def __init__(self, family: Family, nft: Nft) -> None:
        self._ip = "ip" if family == "IPv4" else "ip6"
        self._nft = nft
        self._applied: Ruleset | None = None
        self._stale = Stale()
        self._log = get_logger("nft", family=family)

    @property
    def has_stale(self) -> bool:
        """Whether `sweep` has something to delete."""
        return bool(self._stale)

    @property
    def is_known(self) -> bool:
        """Whether the next `apply` sends only what changes."""
        return self._applied is not None

    async def apply(self, ruleset: Ruleset) -> None:
        """Make the table this ruleset, in one transaction.

        Raises:
            NftError: nothing was changed; the next call makes the whole table anew.
        """
        old, self._applied = self._applied, None
        if old is None:
            await self._replace(ruleset)
        else:
            if change := step(old, ruleset):
                await self._nft(("-f", "-"), change)
            self._stale = (self._stale | stale_after(old, ruleset)).without(ruleset)
        self._applied = ruleset

    async def sweep(self) -> None:
        """Delete what is stale; it stays so where the kernel does not let it go yet."""
        if self._applied is None or not self._stale:
            return
        stale, self._stale = self._stale, Stale()
        try:
            await self._nft(("-f", "-"), deletion(stale, self._applied))
        except NftError as error:
            self._log.warning("cleanup_failed", cause=str(error))
            self._applied = None  # what there really is, is found when it is made whole again

    async def verify(self) -> bool:
        """Whether the table still is there with its hooks; where not, all is to be made anew."""
        if self._applied is None:
            return False
        try:
            lost = [chain for chain in _VERIFIED if not await self._has_its_rule(chain)]
        except NftError as error:
            lost = [str(error)]
        if lost:
            self._log.warning("table_lost", cause=", ".join(lost))
            self._applied = None
        return self._applied is not None

    async def _has_its_rule(self, chain: str) -> bool:
        assert self._applied is not None
        listed = await self._nft(("list", "chain", self._ip, TABLE, chain), "")
        return self._applied.chains[chain].rules[0].split()[-1].encode() in listed

    async def remove(self) -> None:
        """Delete the table, if it is there.

        Raises:
            NftError: nft refused.
        """
        self._applied, self._stale = None, Stale()
        await self._nft(
            ("-f", "-"), f"add table {self._ip} {TABLE}\ndelete table {self._ip} {TABLE}\n"
        )

    async def _replace(self, ruleset: Ruleset) -> None:
        """Keep the affinities of clients where that can be done."""
        self._stale = Stale()
        try:
            chains, holders = await self._names()
            if chains:
                change, stale = over(ruleset, chains, holders)
                await self._nft(("-f", "-"), change)
                self._stale = stale
                return
        except NftError as error:
            self._log.warning("not_taken_over", cause=str(error))
        await self._nft(("-f", "-"), whole(ruleset))

    async def _names(self) -> tuple[list[str], dict[str, str]]:
        """All chains of the table, and the kind of all sets and maps by name."""
        chains = [each["name"] for each in await self._listed("chain")]
        holders = {
            each["name"]: kind for kind in ("set", "map") for each in await self._listed(kind)
        }
        return chains, holders

    async def _listed(self, kind: str) -> list[dict[str, Any]]:
        out = await self._nft(("-j", "-t", "list", f"{kind}s", self._ip), "")
        return [
            each[kind]
            for each in orjson.loads(out)["nftables"]
            if kind in each and each[kind]["table"] == TABLE
        ]
