"""Who may serve a broker: one service at a time, agreed on by claims that all of them can see.

Each service keeps a claim at the broker, retained, and its last will takes it away. Whoever comes
asks; whoever is there says its claim again. Of all claims the first in `rank` is the one that
counts: one that holds goes before those that wait, and among equals the older.

    others before us            we        they were heard live, and hold      taken
                                          they have not answered (yet)        as it was
    nobody before us            we        holding                             held
                                          waiting                             promote

A claim that the broker kept from before proves nothing: its service may have died together with the
broker. It is asked for, and struck out when nobody answers for it. Pure: no clock, no connection.
"""

from enum import StrEnum

import msgspec

from devices.ids import Instant


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One service's claim to the broker, and where to find it. `run`: of this process alone.

    `since`: when it began to hold, or else to wait (ms since the epoch, by its own clock).
    """

    run: str
    instance: str
    ledger: str
    host: str
    pid: int
    since: Instant
    holds: bool = False

    @property
    def rank(self) -> tuple[bool, Instant, str]:
        """The lowest counts."""
        return not self.holds, self.since, self.run


class Standing(StrEnum):
    """How a service stands at the broker. Asking: nobody can say yet, or the broker is away."""

    ASKING = "asking"
    HELD = "held"
    TAKEN = "taken"


class Claims:
    """What is heard of claims over one connection. `mine` is ours as it was last told."""

    def __init__(self, mine: Claim) -> None:
        self.mine = mine
        self._others: dict[str, Claim] = {}
        self._kept: set[str] = set()  # by the broker, from before; nobody has answered for them
        self._mine_kept = False

    def heard(self, claim: Claim, *, kept: bool) -> None:
        """A claim, said now or `kept` by the broker from before."""
        if claim.run == self.mine.run:
            self._mine_kept = True
            return
        if kept and claim.run not in self._others:
            self._kept.add(claim.run)
        elif not kept:
            self._kept.discard(claim.run)
        self._others[claim.run] = claim

    def gone(self, run: str) -> None:
        """A claim was taken back, or its will took it away."""
        self._others.pop(run, None)
        self._kept.discard(run)
        if run == self.mine.run:
            self._mine_kept = False

    def doubt(self) -> None:
        """Everybody is asked once more: who does not answer is not there."""
        self._kept.update(self._others)

    def silent(self) -> list[str]:
        """Strike out those for whom nobody has answered; returns which."""
        silent = sorted(self._kept)
        for run in silent:
            self.gone(run)
        return silent

    def resume(self, now: Instant) -> None:
        """We are back at the broker. Who came to hold it while our claim was gone stays.

        Our will has told everybody that we were gone; the older claim would throw them out.
        """
        if self._mine_kept or not any(other.holds for other in self._others.values()):
            return
        self.mine = msgspec.structs.replace(self.mine, holds=False, since=now)

    def promote(self, now: Instant) -> None:
        """Nobody is before us any more: hold from now on."""
        self.mine = msgspec.structs.replace(self.mine, holds=True, since=now)

    @property
    def before(self) -> list[Claim]:
        """The claims before ours, the first of them first."""
        others = sorted(self._others.values(), key=lambda claim: claim.rank)
        return [claim for claim in others if claim.rank < self.mine.rank]

    @property
    def holder(self) -> Claim | None:
        """Who holds before us, and has said so itself."""
        first = next(iter(self.before), None)
        return first if first and first.holds and first.run not in self._kept else None
