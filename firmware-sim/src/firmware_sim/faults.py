"""Handhelds that break the contract, each in one way: what a conformance check has to find.

FAULTS[name](fitting, epoch=…, boot=…, now=…, rng=…)    a handheld like any other, but for that
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from firmware_sim.handheld import PICTURE_NAME, Handheld, Phase
from firmware_sim.wire import Kind, Publication, Receipt, Record, encode_status

NEVER = 10**18


class _Changed(Handheld):
    """What it says is changed on the way out."""

    def due(self, now: int) -> tuple[Publication, ...]:
        return tuple(self.changed(said) for said in super().due(now))

    def changed(self, said: Publication) -> Publication:
        """One publish, as this firmware makes it."""
        raise NotImplementedError

    def edited(self, said: Publication, **members: object) -> Publication:
        """The same with other members; None takes one away. Statuses stay as they are."""
        if not said.seqs:
            return said
        body: Any = json.loads(said.payload)
        records = body if isinstance(body, list) else [body]
        changed = [
            {name: value for name, value in {**record, **members}.items() if value is not None}
            for record in records
        ]
        payload = json.dumps(changed if isinstance(body, list) else changed[0]).encode()
        return replace(said, payload=payload)


class _OtherTopic(_Changed):
    def changed(self, said: Publication) -> Publication:
        return replace(said, topic=said.topic.replace("/up/checkin", "/up/scan"))


class _BadJson(_Changed):
    def changed(self, said: Publication) -> Publication:
        return replace(said, payload=said.payload[:-1]) if said.seqs else said


class _TooLarge(_Changed):
    def changed(self, said: Publication) -> Publication:
        return self.edited(said, note="x" * 300 * 1024)


class _Unsure(_Changed):
    def changed(self, said: Publication) -> Publication:
        return replace(said, qos=0)


class _Retaining(_Changed):
    def changed(self, said: Publication) -> Publication:
        return replace(said, retain=True)


class _WrongPhoto(Handheld):
    def photo(self) -> Publication:
        """A picture under the name of another."""
        right = super().photo()
        return replace(right, topic=right.topic.replace(PICTURE_NAME, "0" * 64))


class _Skipping(Handheld):
    def record(self, kind: Kind, now: int, **rest: Any) -> Record:
        record = super().record(kind, now, **rest)
        self.next_seq += 1
        return record


class _SameEpoch(Handheld):
    def reset(self, now: int, boot: str, epoch: int) -> None:
        super().reset(now, boot, self.epoch)


class _Rewriting(_Changed):
    _times = 0

    def changed(self, said: Publication) -> Publication:
        self._times += 1
        return self.edited(said, bat=self._times % 100)


class _StoredSent(_Changed):
    _member = "sent"

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._stored: dict[tuple[int, ...], int] = {}

    def changed(self, said: Publication) -> Publication:
        if not said.seqs:
            return said
        first = self._stored.setdefault((self.epoch, *said.seqs), self._now_of(said))
        return self.edited(said, **{self._member: first})

    def _now_of(self, said: Publication) -> int:
        moment = said.moment
        found = None if moment is None else getattr(moment, self._member.removeprefix("sent_"))
        return int(found or 0)


class _StoredUptime(_StoredSent):
    _member = "sent_up"


class _RecordsFirst(Handheld):
    """It empties its store before it says that it is there."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._birth: Publication | None = None

    def connected(self, now: int) -> Publication:
        birth = super().connected(now)
        flying = [kept.record for kept in self._waiting.values()]
        if not flying:
            return birth
        self._birth = birth
        return next(self._publications(flying[:1], now))

    def due(self, now: int) -> tuple[Publication, ...]:
        birth, self._birth = self._birth, None
        return ((birth,) if birth else ()) + super().due(now)


class _Hurrying(Handheld):
    def connected(self, now: int) -> Publication:
        birth = super().connected(now)
        self._greeting_ends = now
        return birth


class _LateSubscriber(Handheld):
    """It hears nothing before it has sent something."""

    _deaf = False

    def connected(self, now: int) -> Publication:
        self._deaf = self.unreceipted > 0
        return super().connected(now)

    def receipted(self, receipt: Receipt) -> int:
        return 0 if self._deaf else super().receipted(receipt)

    def due(self, now: int) -> tuple[Publication, ...]:
        said = super().due(now)
        self._deaf = self._deaf and not any(publication.seqs for publication in said)
        return said


class _BareWill(Handheld):
    def will(self) -> Publication:
        return replace(super().will(), payload=encode_status({"online": False}))


class _Once(Handheld):
    def _pause(self, kept: Any) -> int:
        return NEVER


class _Hasty(Handheld):
    def _pause(self, kept: Any) -> int:
        return super()._pause(kept) if kept.record.kind is Kind.SOS else super()._pause(kept) // 6


class _SlowSos(Handheld):
    def _pause(self, kept: Any) -> int:
        return super()._pause(kept) * (6 if kept.record.kind is Kind.SOS else 1)


class _Flooding(Handheld):
    def _choose(self, now: int) -> Iterator[Any]:
        for kept in self._waiting.values():
            if kept.again_at is None or kept.again_at <= now:
                yield kept


class _Deaf(Handheld):
    """It counts receipts and forgets nothing by them."""

    def receipted(self, receipt: Receipt) -> int:
        if self.phase is Phase.GREETING:
            super().receipted(replace(receipt, upto=-1))
        return 0


class _OneLedger(Handheld):
    def _uncover(self) -> None:
        """What another ledger lacks is none of its business."""


class _Forgetful(Handheld):
    def reboot(self, now: int, boot: str) -> None:
        super().reboot(now, boot)
        self.lost.extend(kept.record for kept in self._waiting.values())
        self._waiting.clear()


class _OldQueue(Handheld):
    """Its status tells what its store held at first."""

    _first: tuple[int, int] | None = None

    @property
    def unreceipted(self) -> int:
        return self._told()[0]

    @property
    def oldest(self) -> int | None:
        return self._told()[1]

    def _told(self) -> tuple[int, int]:
        if self._first is None and self._waiting:
            self._first = len(self._waiting), min(self._waiting)
        return self._first or (1, 0)


FAULTS: Mapping[str, type[Handheld]] = {
    "other-topic": _OtherTopic,
    "bad-json": _BadJson,
    "too-large": _TooLarge,
    "qos-0": _Unsure,
    "retains-all": _Retaining,
    "wrong-photo": _WrongPhoto,
    "skips-seq": _Skipping,
    "same-epoch": _SameEpoch,
    "rewrites": _Rewriting,
    "stored-sent": _StoredSent,
    "stored-uptime": _StoredUptime,
    "records-first": _RecordsFirst,
    "no-wait": _Hurrying,
    "subscribes-late": _LateSubscriber,
    "bare-will": _BareWill,
    "sends-once": _Once,
    "hasty": _Hasty,
    "slow-sos": _SlowSos,
    "floods": _Flooding,
    "deaf": _Deaf,
    "one-ledger": _OneLedger,
    "forgetful": _Forgetful,
    "old-queue": _OldQueue,
}
"""What is broken -> the firmware. Each breaks one clause, and what follows from that."""
