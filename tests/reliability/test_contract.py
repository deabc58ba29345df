"""Contract §2 and §3 on the wire: identity, missing ranges, `oldest`, epochs, sending again."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.ingest.school import GATE, LAB, REGISTRY, birth, checkin, up
from tests.reliability.stage import a_stage
from tests.service import Service, now_ms, until
from tests.wire import Wire

pytestmark = pytest.mark.broker

EPOCHS = count(1_000)


class Device:
    """A handheld of which each test has an epoch of its own."""

    def __init__(self, service: Service, wire: Wire, slug: str = "hh-1") -> None:
        self.service = service
        self.wire = wire
        self.slug = slug
        self.epoch = next(EPOCHS)
        self.at = now_ms()

    def born(self, oldest: int | None) -> dict[str, Any]:
        """Say a birth; the receipt it makes."""
        said = {"online": True, "epoch": self.epoch} if oldest is None else birth(oldest)
        return self.answer("status", {**said, "epoch": self.epoch, "sent": now_ms()})

    def read(self, *seqs: int, **more: Any) -> dict[str, Any]:
        """Say check-ins, in one message; the receipt it makes."""
        records = [checkin(seq, self.at + seq, epoch=self.epoch, **more) for seq in seqs]
        return self.answer("checkin", records)

    def answer(self, kind: str, said: Any, *, retain: bool = False) -> dict[str, Any]:
        """Say something; the receipt of this epoch that comes next."""
        before = len(self.receipts)
        self.wire.say(up(kind, self.slug), said, retain=retain)
        until(lambda: len(self.receipts) > before, f"a receipt for {kind}")
        return self.receipts[-1]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """Of this epoch."""
        return [r for r in self.wire.receipts(self.slug) if r["epoch"] == self.epoch]

    @property
    def kept(self) -> list[int]:
        """The `seq` that the ledger holds, in their order."""
        query = "SELECT seq FROM entry WHERE epoch = :epoch ORDER BY seq"
        return [seq for (seq,) in self.service.rows(query, epoch=self.epoch)]

    def reasons(self) -> list[str]:
        """Why what of it is in quarantine is there."""
        query = "SELECT reason FROM quarantine WHERE epoch = :epoch ORDER BY id"
        return [reason for (reason,) in self.service.rows(query, epoch=self.epoch)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Wire]]:
    folder = tmp_path_factory.mktemp("contract")
    with a_stage(folder, REGISTRY) as on_it:
        yield on_it


@pytest.fixture
def device(stage) -> Device:
    return Device(*stage)


def test_sent_again_it_is_one_message_whatever_its_sending_says(device):
    """`sent` and `sent_up` are of the publish, not of the record."""
    device.born(1)
    device.read(1, boot="b", up=10, sent_up=20)
    again = checkin(1, device.at + 1, epoch=device.epoch, boot="b", up=10)
    receipt = device.answer("checkin", {**again, "sent": device.at + 9_000, "sent_up": 9_020})
    assert (receipt["upto"], receipt["missing"]) == (1, [])
    assert (device.kept, device.reasons()) == ([1], [])


def test_an_identity_with_other_content_is_receipted_kept_aside_and_told(device):
    """It goes to quarantine, and its device need not send it for ever."""
    device.born(1)
    device.read(1, tag=GATE)
    assert device.read(1, tag=LAB)["upto"] == 1
    until(lambda: device.reasons() == ["identity-conflict"], "quarantine")
    event = device.wire.event("device.identity-conflict", f"hh-1/{device.epoch}/1")
    assert event["severity"] == "medium"
    assert device.kept == [1]


def test_what_has_not_come_is_missing_until_it_comes(device):
    """Closed ranges, lowest first; each that comes leaves them."""
    device.born(1)
    assert device.read(1, 4, 5, 9)["missing"] == [[2, 3], [6, 8]]
    assert device.read(7)["missing"] == [[2, 3], [6, 6], [8, 8]]
    assert device.read(2, 3)["missing"] == [[6, 6], [8, 8]]
    receipt = device.read(6, 8)
    assert (receipt["upto"], receipt["missing"]) == (9, [])


def test_a_receipt_names_thirty_two_ranges_and_reaches_no_further(device):
    """Beyond them `upto` stops before the first one left out, so that nothing of it is claimed."""
    device.born(0)
    receipt = device.read(*range(0, 100, 2))
    assert len(receipt["missing"]) == 32
    assert receipt["missing"][:2] == [[1, 1], [3, 3]]
    assert receipt["upto"] == 64
    assert device.read(*range(1, 100, 2))["upto"] == 99


def test_what_a_device_stores_no_more_is_lost_and_told(device):
    """Ranges below `oldest` leave `missing`, with an event that names the first of them."""
    device.born(1)
    assert device.read(1, 5, 9)["missing"] == [[2, 4], [6, 8]]
    assert device.born(7)["missing"] == [[7, 8]]
    event = device.wire.event("device.gap", f"hh-1/{device.epoch}/2")
    assert event["state"] in ("open", "resolved")
    assert device.read(7, 8)["missing"] == []


def test_what_was_kept_stays_receipted_through_whatever_is_said_later(device):
    """Coverage only grows: a birth with a lower `oldest`, a copy, a restart take nothing back."""
    device.born(5)
    assert device.read(5, 6)["missing"] == []
    receipt = device.born(3)
    assert (receipt["upto"], receipt["missing"]) == (6, [[3, 4]])
    device.service.kill()
    device.service.start()
    receipt = device.read(6)
    assert (receipt["upto"], receipt["missing"]) == (6, [[3, 4]])


def test_a_new_epoch_counts_anew(device, stage):
    """What an earlier one holds says nothing of it."""
    other = Device(*stage)
    device.born(1)
    assert device.read(1, 2, 3)["upto"] == 3
    assert other.born(1)["upto"] == 0
    assert other.read(1)["upto"] == 1
    assert (device.kept, other.kept) == ([1, 2, 3], [1])


def test_an_array_is_judged_element_by_element(device):
    """One that cannot be read hurts none of the others, and is receipted where it says who it
    is."""
    device.born(1)
    records = [checkin(seq, device.at + seq, epoch=device.epoch) for seq in range(1, 201)]
    records[99]["at"] = "noon"
    receipt = device.answer("checkin", records)
    assert (receipt["upto"], receipt["missing"]) == (200, [])
    assert device.kept == [seq for seq in range(1, 201) if seq != 100]
    assert device.reasons() == ["schema"]


def test_a_retained_record_counts_once_however_often_the_broker_tells_it(device):
    """It has an identity, and counts like any other."""
    device.born(1)
    said = checkin(1, device.at, epoch=device.epoch)
    assert device.answer("checkin", said, retain=True)["upto"] == 1
    device.service.stop()
    device.service.start()
    assert device.read(2)["upto"] == 2
    assert device.kept == [1, 2]
    device.wire.say(up("checkin"), b"", retain=True)


def test_who_is_not_registered_is_receipted_for_what_quarantine_holds(stage):
    """A handheld that came before its registry does not send for ever."""
    stranger = Device(*stage, slug="hh-new")
    receipt = stranger.read(4)
    assert (receipt["upto"], receipt["ledger"]) == (4, stage[0].value("SELECT uuid FROM ledger"))
    assert stranger.kept == []
    assert stranger.reasons() == ["unknown-device"]


def test_a_store_sent_again_and_again_while_the_service_is_killed_is_kept_once(device):
    """The device sends what no receipt covers until one does, and the service dies meanwhile."""
    device.born(1)
    seqs = range(1, 200)
    for _ in range(2):
        device.wire.say_all(
            up("checkin"), [checkin(s, device.at + s, epoch=device.epoch) for s in seqs]
        )
        device.service.kill()
        claimed = max((r["upto"] for r in device.receipts), default=0)
        assert {*range(1, claimed + 1)} <= {*device.kept}
        device.service.start()
    device.read(199)
    until(lambda: device.kept == [*seqs], "each once")
    until(lambda: device.receipts[-1]["missing"] == [], "all covered")


def test_a_device_that_sends_rubbish_fills_its_own_bound_and_harms_nobody(stage):
    """Of a device and day 1,000 entries are kept whole, the rest counted; everything is
    acknowledged, and another device is kept and receipted as ever."""
    service, wire = stage
    other = Device(service, wire, "hh-2")
    other.born(1)
    for part in range(3):
        rubbish = [{"seq": -1, "n": part * 500 + n} for n in range(500)]
        wire.say_all(up("checkin"), rubbish)
        assert other.read(part + 1)["upto"] == part + 1
    bucket = "SELECT count(*), sum(copies) FROM quarantine WHERE bucket = 'hh-1' AND whole = :whole"

    def counted() -> bool:
        rest = service.rows(bucket, whole=False)[0]
        return service.rows(bucket, whole=True)[0][0] + (rest[1] or 0) >= 1_500

    until(counted, "everything is counted")
    assert service.rows(bucket, whole=True)[0][0] <= 1_000
    assert service.rows(bucket, whole=False)[0][0] <= 3  # one for each reason
    assert service.get("/readyz") == (200, "ready\n")
