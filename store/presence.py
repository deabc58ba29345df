"""Who was heard and when, and who could have been: contacts, presence, the last status.

A contact is a span in which a device was heard again and again; presence is the instants at which
it became reachable or not (its will, its last word, its first). The rules ask both: was anybody of
the site reachable through a window, did anything arrive from the device since it read that tag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from devices.ids import Instant
from devices.messages import Status
from rules.presence import SILENCES
from store.prepared import Prepared
from store.tables import (
    Contact,
    Device,
    DeviceFirmware,
    DevicePlace,
    DeviceState,
    Entry,
    Outage,
    Presence,
    table_of,
)

CONTACT = table_of(Contact)
PRESENCE = table_of(Presence)
STATE = table_of(DeviceState)
ENTRY = table_of(Entry)
DEVICE = table_of(Device)
PLACE = table_of(DevicePlace)
OUTAGE = table_of(Outage)
FIRMWARE = table_of(DeviceFirmware)

CONTACT_GAP_MS = 60_000


@dataclass(slots=True)
class _Known:
    """What is remembered of one device; `contact` is the row that its present span stands in."""

    online: bool | None
    boot: str | None
    epoch: int
    contact: int | None
    until: Instant
    battery: int | None
    firmware: str | None


class PresenceBook:
    """Folds what arrives into presence. For the ledger's writer only, in its transaction."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._heard: dict[int, list[list[Instant]]] = {}

    def forget(self) -> None:
        """Drop what is remembered: the transaction it came from did not commit."""
        self._known.clear()
        self._heard.clear()

    def heard(self, connection: Connection, device_id: int, at: Instant) -> None:
        """Something arrived from the device; one that was silent or gone is reachable again."""
        known = self._device(connection, device_id)
        if not known.online:
            self._turn(connection, device_id, known, True, at)
        self._hear(device_id, at)

    def heard_before(self, connection: Connection, device_id: int, at: Instant) -> None:
        """The same of an entry of an earlier run: whether it turned anything has been written."""
        self._device(connection, device_id)
        self._hear(device_id, at)

    def status(
        self,
        connection: Connection,
        device_id: int,
        status: Status,
        at: Instant,
        *,
        retained: bool,
    ) -> bool:
        """Fold a status in. False when it is the will of an earlier boot, which says nothing now.

        A retained one tells what the device last said, not that it said it now.
        """
        known = self._device(connection, device_id)
        stale = not status.online and None not in (known.boot, status.boot)
        if stale and known.online and status.boot != known.boot:
            return False
        known.boot, known.epoch = status.boot or known.boot, status.epoch
        if known.online is not status.online:
            self._turn(connection, device_id, known, status.online, at)
        if status.online and not retained:
            self._hear(device_id, at)
        news = self._learn(connection, device_id, known, status, at)
        _fold(connection, device_id, status, at, live=not retained, wake=at if news else None)
        return True

    def _learn(
        self, connection: Connection, device_id: int, known: _Known, status: Status, at: Instant
    ) -> bool:
        """Whether a status says of charge or firmware what was not known; a new firmware is noted.

        None says nothing of them.
        """
        if status.fw not in (None, known.firmware):
            known.firmware = status.fw
            _NOTED.run(connection, device_id=device_id, at=at, firmware=status.fw)
        charged = status.bat not in (None, known.battery)
        known.battery = status.bat if charged else known.battery
        return charged

    def epoch(self, connection: Connection, device_id: int) -> int:
        """The epoch the device counts in, by its last status."""
        return self._device(connection, device_id).epoch

    def flush(self, connection: Connection) -> None:
        """Write the contacts of the devices heard since the last flush."""
        if not self._heard:
            return
        begun: list[dict[str, Any]] = []
        longer: list[tuple[Instant, int]] = []
        last = _LAST_ID.first(connection)
        next_id = (last[0] if last else 0) + 1
        for device_id, spans in self._heard.items():
            known = self._known[device_id]
            for since, until in sorted(spans):
                if known.contact is None or since - known.until > CONTACT_GAP_MS:
                    known.contact = next_id + len(begun)
                    span = {"device_id": device_id, "since": since, "until": until}
                    begun.append({"id": known.contact, **span})
                elif until > known.until:
                    longer.append((until, known.contact))
                known.until = max(known.until, until)
        if begun:
            _BEGIN.each(connection, begun)
        if longer:
            connection.exec_driver_sql(_LONGER, longer)
        heard = [(max(u for _, u in spans), device) for device, spans in self._heard.items()]
        connection.exec_driver_sql(_HEARD, heard)
        self._heard.clear()

    def _hear(self, device_id: int, at: Instant) -> None:
        """Keep every contact of the batch: one that follows a tick of hours may not swallow any.

        Nor one that came before: a batch's records are heard first, its statuses after them.
        """
        spans = self._heard.setdefault(device_id, [])
        if spans and spans[-1][0] <= at <= spans[-1][1] + CONTACT_GAP_MS:
            spans[-1][1] = max(spans[-1][1], at)
        else:
            spans.append([at, at])

    def _device(self, connection: Connection, device_id: int) -> _Known:
        known = self._known.get(device_id)
        if known is None:
            state = _STATE.first(connection, device=device_id)
            if state is None:
                _MADE.run(connection, device_id=device_id)
            online, boot, epoch, battery, firmware = state or (None,) * 5
            contact, until = _LAST_CONTACT.first(connection, device=device_id) or (None, 0)
            known = self._known[device_id] = _Known(
                online=online,
                boot=boot,
                epoch=epoch or 0,
                contact=contact,
                until=until,
                battery=battery,
                firmware=firmware,
            )
        return known

    def _turn(
        self, connection: Connection, device_id: int, known: _Known, online: bool, at: Instant
    ) -> None:
        known.online = online
        _TURNED.run(connection, device_id=device_id, at=at, online=online)
        _STANDS.run(connection, it=device_id, online=online, turned_at=at, wake=at)


_STATE = Prepared(
    select(STATE.c.online, STATE.c.boot, STATE.c.epoch, STATE.c.battery, STATE.c.firmware).where(
        STATE.c.device_id == bindparam("device")
    )
)
_LAST_CONTACT = Prepared(
    select(CONTACT.c.id, CONTACT.c.until)
    .where(CONTACT.c.device_id == bindparam("device"))
    .order_by(CONTACT.c.until.desc())
    .limit(1)
)
_LAST_ID = Prepared(select(CONTACT.c.id).order_by(CONTACT.c.id.desc()).limit(1))
_BEGIN = Prepared(insert(CONTACT), columns=("id", "device_id", "since", "until"))
_MADE = Prepared(insert(STATE), columns=("device_id",))
_NOTED = Prepared(insert(FIRMWARE), columns=("device_id", "at", "firmware"))
_TURNED = Prepared(insert(PRESENCE), columns=("device_id", "at", "online"))
_ITS = update(STATE).where(STATE.c.device_id == bindparam("it"))
_STANDS = Prepared(_ITS, columns=("online", "turned_at", "wake"))
# a row for each device of each batch: as it goes to the driver, without a detour
_LONGER = "UPDATE contact SET until = ? WHERE id = ?"
_HEARD = "UPDATE device_state SET heard_at = ? WHERE device_id = ?"


def _fold(
    connection: Connection,
    device_id: int,
    status: Status,
    at: Instant,
    *,
    live: bool,
    wake: Instant | None,
) -> None:
    told = {
        "boot": status.boot,
        "epoch": status.epoch,
        "battery": status.bat,
        "rssi": status.rssi,
        "firmware": status.fw,
        "model": status.model,
        "queue": status.queue,
        "oldest": status.oldest,
        "skew_ms": status.sent - at if live and status.sent is not None else None,
        "wake": wake,
    }
    new = {f"new_{name}": value for name, value in told.items()}
    _FOLD.run(connection, it=device_id, new_status_at=at, new_online=status.online, **new)


_TOLD = (
    *("boot", "epoch", "battery", "rssi", "firmware", "model", "queue", "oldest", "skew_ms"),
    "wake",
)
_FOLD = Prepared(  # what a status does not say stays as it was
    _ITS.values(
        status_at=bindparam("new_status_at"),
        online=bindparam("new_online", type_=STATE.c.online.type),
        **{name: func.coalesce(bindparam(f"new_{name}"), STATE.c[name]) for name in _TOLD},
    )
)


def reachable(connection: Connection, site_id: int, since: Instant, until: Instant) -> bool:
    """Whether anybody of the site could have told of a visit at some instant of `[since, until)`.

    False when every device was unreachable throughout, or the broker was. A site without devices
    of its own is walked with those of the grid above it, of which any may come: there, only the
    broker counts.
    """
    if _CUT.first(connection, since=since, until=until) is not None:
        return False
    devices = _DEVICES.all(connection, site=site_id, since=since, until=until)
    return not devices or any(
        reachable_through(connection, device, heartbeat_ms, since, until)
        for device, heartbeat_ms in devices
    )


_CUT = Prepared(
    select(OUTAGE.c.id)
    .where(
        OUTAGE.c.what == "broker",
        OUTAGE.c.since <= bindparam("since"),
        (OUTAGE.c.until.is_(None)) | (OUTAGE.c.until >= bindparam("until")),
    )
    .limit(1)
)
_DEVICES = Prepared(  # those that belonged there then, wherever they do now
    select(DEVICE.c.id, DEVICE.c.heartbeat_ms)
    .distinct()
    .select_from(PLACE.join(DEVICE, DEVICE.c.id == PLACE.c.device_id))
    .where(
        PLACE.c.site_id == bindparam("site"),
        PLACE.c.since < bindparam("until"),
        (PLACE.c.until.is_(None)) | (PLACE.c.until > bindparam("since")),
        (DEVICE.c.retired_at.is_(None)) | (DEVICE.c.retired_at > bindparam("since")),
    )
)


def reachable_through(
    connection: Connection,
    device_id: int,
    heartbeat_ms: int | None,
    since: Instant,
    until: Instant,
) -> bool:
    """Whether the device could have told something at some instant of `[since, until)`.

    One never heard could not; one heard once can, until its will or last word says otherwise, or,
    where a heartbeat is agreed, until it has been silent for `SILENCES` of them (contract §6).
    """
    spans = _online(connection, device_id, since, until)
    if heartbeat_ms is None or not spans:
        return bool(spans)
    silence = round(heartbeat_ms * SILENCES)
    heard = _CONTACTS.all(connection, device=device_id, ends=since - silence, begins=until)
    return any(
        begin < heard_until + silence and heard_since < end
        for heard_since, heard_until in heard
        for begin, end in spans
    )


def _online(
    connection: Connection, device_id: int, since: Instant, until: Instant
) -> list[tuple[Instant, Instant]]:
    """The spans of `[since, until)` in which its last word was that it is there."""
    before = _TURN_BEFORE.first(connection, device=device_id, since=since)
    turns: list[Sequence[Any]] = [(since, before is not None and before[1])]
    turns += _TURNS_WITHIN.all(connection, device=device_id, since=since, until=until)
    ends = [at for at, _ in turns[1:]] + [until]
    return [(at, end) for (at, online), end in zip(turns, ends, strict=True) if online]


def anything_arrived(
    connection: Connection, device_id: int, since: Instant, until: Instant
) -> bool:
    """Whether anything arrived from the device in `[since, until)`, to within `CONTACT_GAP_MS`."""
    touching = _TOUCHING.first(connection, device=device_id, begins=until, ends=since)
    return touching is not None


_TURNS = select(PRESENCE.c.at, PRESENCE.c.online).where(PRESENCE.c.device_id == bindparam("device"))
_TURN_BEFORE = Prepared(
    _TURNS.where(PRESENCE.c.at <= bindparam("since"))
    .order_by(PRESENCE.c.at.desc(), PRESENCE.c.id.desc())
    .limit(1)
)
_TURNS_WITHIN = Prepared(
    _TURNS.where(PRESENCE.c.at > bindparam("since"), PRESENCE.c.at < bindparam("until")).order_by(
        PRESENCE.c.at, PRESENCE.c.id
    )
)
_BEGUN = select(CONTACT.c.since, CONTACT.c.until).where(
    CONTACT.c.device_id == bindparam("device"), CONTACT.c.since < bindparam("begins")
)
_CONTACTS = Prepared(_BEGUN.where(CONTACT.c.until > bindparam("ends")))
_TOUCHING = Prepared(_BEGUN.where(CONTACT.c.until >= bindparam("ends")).limit(1))
