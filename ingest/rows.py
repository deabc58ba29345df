"""A record becomes a row of the ledger; its body is the JSON of what has no column of its own."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from devices.content import Usual
from devices.ids import Instant
from devices.messages import CheckIn, Hazard, Sos
from store.entries import EntryKind, EntryRow, ViaCode


def row_of(  # noqa: PLR0913, PLR0917  (what a row says, in the order of its columns)
    message: CheckIn | Hazard | Sos,
    device_id: int,
    site_id: int,
    checkpoint_id: int | None,
    person_id: int | None,
    received_at: Instant,
    tag: str | None,
    digest: int,
) -> EntryRow:
    """The row of a record; `tag` as it is kept, None where it says nothing of a place."""
    kind, rest, said = _KEPT[type(message)]
    body = _encode(rest(*said(message)))
    return EntryRow._make(
        (
            kind,
            device_id,
            message.epoch,
            message.seq,
            site_id,
            checkpoint_id,
            person_id,
            message.at,
            message.sent,
            received_at,
            tag,
            _VIA[message.via] if isinstance(message, CheckIn) else None,
            digest,
            None if body == b"{}" else body.decode(),
        )
    )


_encode = msgspec.json.Encoder().encode
_VIA = {code.name.lower(): code.value for code in ViaCode}


class _Kept(NamedTuple):
    """How a kind of message becomes a row: its number, and its members without a column, as a
    struct that leaves out what says nothing when it is written as JSON.
    """

    kind: int
    rest: type[msgspec.Struct]
    said: Callable[[object], tuple[object, ...]]


def _kept(kind: EntryKind, message: type[CheckIn | Hazard | Sos], columns: frozenset[str]) -> _Kept:
    names = [name for name in message.__struct_fields__ if name not in columns]
    nothing = {each.name: each.default for each in msgspec.structs.fields(message)}
    rest = msgspec.defstruct(
        "_Rest",
        [(name, Any, nothing[name] if nothing[name] in (False, ()) else None) for name in names],
        omit_defaults=True,
    )
    return _Kept(kind.value, rest, attrgetter(*names))


_COLUMNS = frozenset({"seq", "epoch", "at", "sent", "via"})
"""Members of a message that have a column of their own; `person` has one, but where nobody is known
by that name, only the text says who it was."""
_CHECKIN = _kept(EntryKind.CHECKIN, CheckIn, _COLUMNS | {"tag"})
_KEPT: Mapping[type, _Kept] = {
    Usual: _CHECKIN,
    CheckIn: _CHECKIN,
    Hazard: _kept(EntryKind.HAZARD, Hazard, _COLUMNS),
    Sos: _kept(EntryKind.SOS, Sos, _COLUMNS | {"tag"}),
}
