"""How a vendor's export is read, saved by a name: which column tells what, and whose names are
whose.

A map is only what differs from what is understood by itself (`devices.wands.HEADINGS`, names of
the registry). It is written and shown as YAML:

    columns: {time: [打点时间], place: [位置]}     # time date place tag person device
    places: {1号门岗: gate-east}                  # the vendor's name: the checkpoint's id
    people: {张三: p-017}
    devices: {"3": wand-1}                       # where a wand has no machine number there
    time_format: "%d/%m/%Y %H:%M"                # strptime, where no other way helps
    offset: "+01:00"                             # what the wands' clocks keep, else the site's zone
    encoding: gbk                                # where detecting it fails
    sheet: 原始记录
    accept: 每晨由值班长读出并校时                   # rows that come after due count on this word
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from desk.acts import By
from desk.errors import DeskError, UsageError
from devices.ids import Instant, is_slug
from devices.wands import HEADINGS, Role, heading, read_offset
from store.database import reading, writing
from store.entries import NewAction, append_action
from store.tables import ImportMap, table_of

MAP = table_of(ImportMap)

BUILT_IN = "auto"
"""The map that is used where none is named: nothing but what is understood by itself."""
REMEDY = "gridbeat checkin map show NAME prints one as it is written"


@dataclass(frozen=True, slots=True, kw_only=True)
class WandMap:
    """A map; see the module. `columns`: headings by role, in place of those known by themselves."""

    columns: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    time_format: str | None = None
    offset: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    accept: str | None = None

    def headings(self, role: Role) -> frozenset[str]:
        """What the column of a role may be called, in normal form."""
        return frozenset(map(heading, self.columns.get(role, HEADINGS[role])))

    def changed(self, other: "WandMap") -> "WandMap":
        """This map with all that another says put on top."""
        merged: dict[str, Any] = {}
        for each in fields(self):
            mine, told = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Mapping):
                merged[each.name] = {**mine, **told}
            elif told is not None:
                merged[each.name] = told
        return replace(self, **merged)

    def to_document(self) -> dict[str, Any]:
        """What it says, as YAML and the ledger keep it; what it does not say is left out."""
        told: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "columns":
                value = {role.value: list(names) for role, names in value.items()}
            if value:
                told[each.name] = dict(value) if isinstance(value, Mapping) else value
        return told

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Raises `UsageError` with everything that is wrong."""
        problems = list(_problems(document))
        if problems:
            raise UsageError("the map is wrong:\n  " + "\n  ".join(problems), REMEDY)
        told = {name: value for name, value in document.items() if value is not None}
        columns = {
            Role(role): (names,) if isinstance(names, str) else tuple(names)
            for role, names in told.pop("columns", {}).items()
        }
        for table in _TABLES:
            told[table] = {str(name).strip(): slug for name, slug in told.get(table, {}).items()}
        return cls(columns=columns, **told)


_TEXTS = ("time_format", "offset", "encoding", "sheet", "accept")
_TABLES = ("places", "people", "devices")


def _problems(document: Any) -> Iterator[str]:
    if not isinstance(document, Mapping):
        yield "it holds no members: begin with columns: {time: …}"
        return
    for name, value in document.items():
        if value is None:
            continue
        if name == "columns":
            yield from _column_problems(value)
        elif name in _TABLES:
            yield from _table_problems(name, value)
        elif name not in _TEXTS:
            known = ", ".join(each.name for each in fields(WandMap))
            yield f"{name} is no member: there are {known}"
        elif not isinstance(value, str) or not value.strip():
            yield f"{name}: write text"
    offset = document.get("offset")
    if isinstance(offset, str):
        try:
            read_offset(offset)
        except ValueError as error:
            yield f"offset: {error}"


def _column_problems(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield "columns: write {time: 打点时间, place: 位置}"
        return
    roles = [role.value for role in Role]
    for role, names in value.items():
        listed = [names] if isinstance(names, str) else names
        if role not in roles:
            yield f"columns: {role} is none: there are {', '.join(roles)}"
        elif not isinstance(listed, Sequence) or not all(
            isinstance(name, str) and heading(name) for name in listed
        ):
            yield f"columns: {role}: write its heading, or a list of what it may be called"


def _table_problems(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name}: write {{the vendor's name: an id of the registry}}"
        return
    for told, slug in value.items():
        if not isinstance(slug, str) or not is_slug(slug):
            yield f"{name}: {told}: {slug!r} is no id of the registry"


# As YAML ------------------------------------------------------------------------------------------


def read_yaml(text: str) -> WandMap:
    """A map as it is written. Raises `UsageError`."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy, and only for maps
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UsageError(f"the map is no YAML: {error}", REMEDY) from None
    return WandMap.from_document({} if document is None else document)


def read_map(path: Path) -> WandMap:
    """The map of a file. Raises `UsageError` where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        remedy = "name a YAML file in UTF-8, or a saved map: gridbeat checkin map list"
        raise UsageError(f"the map {path} cannot be read", remedy) from error
    return read_yaml(text)


def as_yaml(document: Mapping[str, Any]) -> str:
    """A map's document as it can be read again."""
    from ruamel.yaml import YAML  # noqa: PLC0415

    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(dict(document), out)
    return out.getvalue()


# Saved by name ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A saved map, who saved it, and when."""

    name: str
    map: WandMap
    author: str
    saved_at: Instant


def saved(engine: Engine) -> list[Saved]:
    """Every saved map, by name."""
    with reading(engine) as connection:
        rows = connection.execute(select(MAP).order_by(MAP.c.name)).all()
    return [
        Saved(
            name=row.name,
            map=WandMap.from_document(row.document),
            author=row.author,
            saved_at=row.saved_at,
        )
        for row in rows
    ]


def find(engine: Engine, name: str | None) -> WandMap:
    """The map of a name, or what is understood by itself. Raises `DeskError` for an unknown one."""
    if name is None or name == BUILT_IN:
        return WandMap()
    known = {one.name: one.map for one in saved(engine)}
    if name not in known:
        names = ", ".join([BUILT_IN, *known])
        raise DeskError(f"no map is called {name!r}: there are {names}", REMEDY)
    return known[name]


def save(engine: Engine, name: str, found: WandMap, *, by: By) -> bool:
    """Keep a map under a name; False when it says nothing new."""
    if not is_slug(name) or name == BUILT_IN:
        raise UsageError(
            f"{name!r} is no name for a map", "write a-z, 0-9 and -, as jwm-v7 (not `auto`)"
        )
    with writing(engine) as connection:
        there = connection.execute(select(MAP.c.document).where(MAP.c.name == name)).scalar()
        if there is not None and WandMap.from_document(there) == found:
            return False
        values = {"document": found.to_document(), "author": by.author, "saved_at": by.now}
        new = upsert(MAP).values(name=name, **values)
        connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=values))
        _write_down(connection, by, {"do": "map-save", "map": name, **found.to_document()})
    return True


def remove(engine: Engine, name: str, *, by: By) -> None:
    """Delete a map; what was imported by it stays. Raises `DeskError` for an unknown one."""
    with writing(engine) as connection:
        if connection.execute(delete(MAP).where(MAP.c.name == name)).rowcount == 0:
            raise DeskError(f"no map is called {name!r}", "gridbeat checkin map list")
        _write_down(connection, by, {"do": "map-delete", "map": name})


def _write_down(connection: Connection, by: By, body: Mapping[str, Any]) -> None:
    action = NewAction(author=by.author, at=by.now, site_id=None, body=body)
    append_action(connection, action)
