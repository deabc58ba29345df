"""A handheld without its socket and clock: what it keeps, what it says next, when to wake it.

Every call takes `now`, true time in ms, which only its timers and its uptime keep; what it says of
the time comes from its own clock. `due(now)` returns what to publish at this instant and `wake()`
the next instant worth calling it. The connection is a table:

    OFFLINE  --CONNECTED--> GREETING   the birth goes out
    GREETING --RECEIPT----> ONLINE     then what is stored
    GREETING --WAITED-----> ONLINE     after 2 s without one
    any      --LOST-------> OFFLINE    what was in flight is merely stored again
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from firmware_sim.clocks import DeviceClock
from firmware_sim.wire import (
    MAX_ARRAY,
    Kind,
    Moment,
    Publication,
    Receipt,
    Record,
    encode_records,
    encode_status,
    up_topic,
)

PICTURE = b"\xff\xd8\xff\xe0 a small picture"
PICTURE_NAME = hashlib.sha256(PICTURE).hexdigest()

SECOND = 1_000
MINUTE = 60 * SECOND


class Phase(StrEnum):
    """Where the connection stands, as the device sees it."""

    OFFLINE = "offline"
    GREETING = "greeting"
    ONLINE = "online"


class Happening(StrEnum):
    """What moves a connection from phase to phase."""

    CONNECTED = "connected"
    RECEIPT = "receipt"
    WAITED = "waited"
    LOST = "lost"


PHASES = {
    (Phase.OFFLINE, Happening.CONNECTED): Phase.GREETING,
    (Phase.GREETING, Happening.CONNECTED): Phase.GREETING,
    (Phase.GREETING, Happening.RECEIPT): Phase.ONLINE,
    (Phase.GREETING, Happening.WAITED): Phase.ONLINE,
    (Phase.GREETING, Happening.LOST): Phase.OFFLINE,
    (Phase.ONLINE, Happening.CONNECTED): Phase.GREETING,
    (Phase.ONLINE, Happening.RECEIPT): Phase.ONLINE,
    (Phase.ONLINE, Happening.WAITED): Phase.ONLINE,
    (Phase.ONLINE, Happening.LOST): Phase.OFFLINE,
    (Phase.OFFLINE, Happening.RECEIPT): Phase.OFFLINE,
    (Phase.OFFLINE, Happening.WAITED): Phase.OFFLINE,
    (Phase.OFFLINE, Happening.LOST): Phase.OFFLINE,
}


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a handheld behaves; the defaults are the contract's numbers (times in ms).

    `uptimes`: records say `boot`, `up` and `sent_up`. `takes_now`: the answer to its birth sets
    its clock, if it is no more than `stale` older than the birth.
    """

    resend: tuple[int, ...] = (
        30 * SECOND, 1 * MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 10 * MINUTE,
    )  # fmt: skip
    resend_sos: tuple[int, ...] = (2 * SECOND, 5 * SECOND, 10 * SECOND)
    spread: float = 0.5
    greeting: int = 2 * SECOND
    capacity: int = 10_000
    in_flight: int = 20
    batch: int = 1
    heartbeat: int | None = None
    uptimes: bool = True
    takes_now: bool = False
    stale: int = 5 * SECOND

    def scaled(self, scale: float) -> "Habits":
        """The same with the times of the connection shortened, for a run that cannot wait."""
        return replace(
            self,
            resend=tuple(round(step * scale) for step in self.resend),
            resend_sos=tuple(round(step * scale) for step in self.resend_sos),
            greeting=round(self.greeting * scale),
        )


@dataclass(frozen=True, kw_only=True)
class Battery:
    """A charge that only runs down: `full` percent at `since` (ms), `per_hour` percent less."""

    full: float = 100.0
    per_hour: float = 2.0
    since: int = 0

    def level(self, now: int) -> int:
        """Percent left at `now`; never below 1, since a dead handheld says nothing."""
        hours = max(0, now - self.since) / (60 * MINUTE)
        return max(1, min(100, round(self.full - hours * self.per_hour)))


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What a handheld is made of, apart from what happens to it."""

    device: str
    site: str
    habits: Habits = field(default_factory=Habits)
    battery: Battery = field(default_factory=Battery)
    rssi: int = -70
    firmware: str = "sim-1.0"
    model: str = "GB-SIM"


@dataclass(slots=True)
class _Kept:
    """A record not receipted yet, with its place in the resend schedule."""

    record: Record
    published: int = 0
    again_at: int | None = None  # None: stored, not in flight on this connection


class Handheld:
    """One device: `seq`, store-and-forward, receipts, resends, status. Pure; see the module."""

    def __init__(
        self,
        fitting: Fitting,
        *,
        epoch: int,
        boot: str,
        now: int,
        rng: random.Random,
        clock: DeviceClock | None = None,
    ):
        self.fitting = fitting
        self.clock = clock or DeviceClock()
        self.epoch = epoch
        self.boot = boot
        self.phase = Phase.OFFLINE
        self.ledger: str | None = None
        self.next_seq = 1
        self.rounds: dict[str, dict[str, int]] = {}
        self.lost: list[Record] = []
        self._booted_at = now
        self._rng = rng
        self._waiting: dict[int, _Kept] = {}
        self._receipted: dict[int, Record] = {}
        self._greeted_at = self._greeting_ends = now
        self._heartbeat_at: int | None = None

    # What the holder does

    def record(
        self, kind: Kind, now: int, *, site: str | None = None, copies: int = 1, **members: object
    ) -> Record:
        """Keep what just happened, under the next `seq`; makes room first when full."""
        self._make_room()
        moment = self._moment(now)
        record = Record(
            kind=kind,
            site=site or self.fitting.site,
            seq=self.next_seq,
            epoch=self.epoch,
            at=self.clock.tells(now),
            boot=moment.boot,
            up=moment.up,
            members=members,
            copies=copies,
        )
        self.next_seq += 1
        self._waiting[record.seq] = _Kept(record)
        return record

    def reboot(self, now: int, boot: str) -> None:
        """The device restarts: a new boot id, the connection gone, the store kept."""
        self.disconnected(now)
        self.boot, self._booted_at = boot, now

    def reset(self, now: int, boot: str, epoch: int) -> None:
        """The flash is lost: counting starts anew under a new epoch."""
        self.reboot(now, boot)
        self.lost.extend(kept.record for kept in self._waiting.values())
        self._waiting.clear()
        self._receipted.clear()
        self.epoch, self.next_seq, self.ledger = epoch, 1, None

    # What the connection does

    def connected(self, now: int) -> Publication:
        """The broker let us in and we are subscribed: the birth, to be published at once."""
        self._move(Happening.CONNECTED)
        self._land()
        self._greeted_at = now
        self._greeting_ends = now + self.fitting.habits.greeting
        self._plan_heartbeat(now)
        return self.status(now)

    def disconnected(self, now: int) -> None:
        """The connection is gone; nothing is in flight any more."""
        del now  # every happening takes its instant, this one does not need it
        self._move(Happening.LOST)
        self._land()
        self._heartbeat_at = None

    def receipted(self, receipt: Receipt) -> int:
        """Take a receipt; returns how many records it newly covers.

        Another ledger than before means that nothing is covered, what was receipted included.
        """
        if self._sets_its_clock(receipt):
            self._move(Happening.RECEIPT)
        if receipt.ledger != self.ledger:
            self.ledger = receipt.ledger
            self._uncover()
        covered = [seq for seq in self._waiting if receipt.covers(self.epoch, seq)]
        for seq in covered:
            self._receipted[seq] = self._waiting.pop(seq).record
        return len(covered)

    def handed(self, site: str, rounds: Mapping[str, int]) -> None:
        """Take the rounds of a site, each with how many of its checkpoints are left."""
        self.rounds[site] = dict(rounds)

    @property
    def left(self) -> int | None:
        """How many checkpoints its screen says are left; None while no round is told."""
        told = [left for rounds in self.rounds.values() for left in rounds.values()]
        return sum(told) if told else None

    def hurry(self, now: int) -> None:
        """Make everything in flight due now: for a driver whose clock stands still."""
        if self.phase is Phase.GREETING:
            self._move(Happening.WAITED)
        for kept in self._waiting.values():
            if kept.again_at is not None:
                kept.again_at = now

    # What it says, and when

    def due(self, now: int) -> tuple[Publication, ...]:
        """All that has to be published at this instant, sos first."""
        if self.phase is Phase.OFFLINE:
            return ()
        if self.phase is Phase.GREETING and now >= self._greeting_ends:
            self._move(Happening.WAITED)
        said = list(self._say(now)) if self.phase is Phase.ONLINE else []
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._plan_heartbeat(now)
            said.append(self.status(now))
        return tuple(said)

    def wake(self) -> int | None:
        """The next instant at which `due` may have something; None while nothing can come."""
        if self.phase is Phase.OFFLINE:
            return None
        times = [] if self._heartbeat_at is None else [self._heartbeat_at]
        if self.phase is Phase.GREETING:
            times.append(self._greeting_ends)
        else:
            times.extend(k.again_at for k in self._waiting.values() if k.again_at is not None)
        return min(times, default=None)

    @property
    def wants_now(self) -> bool:
        """Whether it waits to be told the time before it says anything else."""
        return self.phase is Phase.GREETING and self.fitting.habits.takes_now

    @property
    def unreceipted(self) -> int:
        """Records stored that no receipt covers yet."""
        return len(self._waiting)

    @property
    def oldest(self) -> int | None:
        """The lowest `seq` not receipted."""
        return min(self._waiting, default=None)

    def stored(self) -> Iterator[Record]:
        """Everything in the store, receipted or not, by `seq`."""
        both = {seq: kept.record for seq, kept in self._waiting.items()} | self._receipted
        return iter(both[seq] for seq in sorted(both))

    def holds(self, seq: int) -> bool:
        """Whether a record still waits for its receipt."""
        return seq in self._waiting

    def will(self) -> Publication:
        """What the broker is to say when we are gone without a word."""
        payload = encode_status({"online": False, "boot": self.boot})
        return Publication(topic=self._status_topic(), payload=payload, retain=True)

    def photo(self) -> Publication:
        """A small picture under its own name; photos are no records and need no `seq`."""
        return Publication(
            topic=f"{up_topic(self.fitting.site, self.fitting.device, 'photo')}/{PICTURE_NAME}",
            payload=PICTURE,
        )

    def farewell(self, now: int) -> Publication:
        """Switched off in good order: the same, said by ourselves."""
        moment = self._moment(now)
        payload = encode_status({"online": False, "sent": moment.sent, "boot": self.boot})
        return Publication(topic=self._status_topic(), payload=payload, retain=True, moment=moment)

    # Inside

    def _move(self, happening: Happening) -> None:
        self.phase = PHASES[self.phase, happening]

    def _sets_its_clock(self, receipt: Receipt) -> bool:
        """Take `now` where it is wanted; False where this receipt answers another birth."""
        if not self.wants_now:
            return True
        if receipt.now is None or receipt.now < self._greeted_at - self.fitting.habits.stale:
            return False
        self.clock.put_right(self._greeted_at, receipt.now)
        return True

    def _land(self) -> None:
        for kept in self._waiting.values():
            kept.again_at = None

    def _uncover(self) -> None:
        again = self._receipted | {seq: kept.record for seq, kept in self._waiting.items()}
        before = self._waiting
        self._waiting = {seq: before.get(seq) or _Kept(again[seq]) for seq in sorted(again)}
        self._receipted.clear()

    def _make_room(self) -> None:
        if len(self._waiting) + len(self._receipted) < self.fitting.habits.capacity:
            return
        if self._receipted:
            del self._receipted[min(self._receipted)]
            return
        checkins = (s for s, k in self._waiting.items() if k.record.kind is Kind.CHECKIN)
        oldest = next(checkins, None)
        if oldest is not None:  # hazards and sos are never dropped: then the store grows
            self.lost.append(self._waiting.pop(oldest).record)

    def _plan_heartbeat(self, now: int) -> None:
        beat = self.fitting.habits.heartbeat
        self._heartbeat_at = None if beat is None else (now // beat + 1) * beat

    def _moment(self, now: int) -> Moment:
        sent = self.clock.tells(now)
        if not self.fitting.habits.uptimes:
            return Moment(sent=sent)
        return Moment(sent=sent, up=now - self._booted_at, boot=self.boot)

    def _say(self, now: int) -> Iterator[Publication]:
        chosen = sorted(self._choose(now), key=lambda kept: kept.record.kind is not Kind.SOS)
        for kept in chosen:
            kept.again_at = now + self._pause(kept)
            kept.published += 1
        for group in _groups([kept.record for kept in chosen], self.fitting.habits.batch):
            yield from self._publications(group, now)

    def _choose(self, now: int) -> Iterator[_Kept]:
        """Due again, then never sent here: at most 20 in flight, sos beyond that."""
        flying = sum(k.again_at is not None for k in self._waiting.values() if not _is_sos(k))
        for kept in self._waiting.values():
            if kept.again_at is not None:
                if kept.again_at <= now:
                    yield kept
            elif _is_sos(kept):
                yield kept
            elif flying < self.fitting.habits.in_flight:
                flying += 1
                yield kept

    def _publications(self, records: Sequence[Record], now: int) -> Iterator[Publication]:
        first, moment = records[0], self._moment(now)
        said = Publication(
            topic=up_topic(first.site, self.fitting.device, first.kind),
            payload=encode_records(records, moment),
            seqs=tuple(record.seq for record in records),
            moment=moment,
        )
        for _ in range(max(record.copies for record in records)):
            yield said

    def _pause(self, kept: _Kept) -> int:
        habits = self.fitting.habits
        steps = habits.resend_sos if _is_sos(kept) else habits.resend
        step = steps[min(kept.published, len(steps) - 1)]
        if _is_sos(kept) or kept.published < len(steps) - 1:
            return step
        return round(step * self._rng.uniform(1 - habits.spread, 1 + habits.spread))

    def _status_topic(self) -> str:
        return up_topic(self.fitting.site, self.fitting.device, Kind.STATUS)

    def status(self, now: int) -> Publication:
        """The birth and every heartbeat: how we are, and what is stored."""
        moment = self._moment(now)
        payload = encode_status(
            {
                "online": True,
                "sent": moment.sent,
                "boot": self.boot,
                "bat": self.fitting.battery.level(now),
                "rssi": self.fitting.rssi,
                "fw": self.fitting.firmware,
                "model": self.fitting.model,
                "queue": self.unreceipted,
                "oldest": self.oldest,
                "epoch": self.epoch,
            }
        )
        return Publication(topic=self._status_topic(), payload=payload, retain=True, moment=moment)


def _is_sos(kept: _Kept) -> bool:
    return kept.record.kind is Kind.SOS


def _groups(records: Iterable[Record], batch: int) -> Iterator[list[Record]]:
    """Neighbours of one kind and site, at most `batch` together."""
    group: list[Record] = []
    for record in records:
        fits = group and (group[0].kind, group[0].site) == (record.kind, record.site)
        if group and (not fits or len(group) >= min(batch, MAX_ARRAY)):
            yield group
            group = []
        group.append(record)
    if group:
        yield group
