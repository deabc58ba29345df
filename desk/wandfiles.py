"""The rows of a wand's export, read and placed: which wand, when, where, who; or why not.

    sheet → header → each row: wand and site → time → place → person → Record | Unreadable

A function of the sheet, the map and the registry as it is now. Names and tags stand for what they
did as of the row's own time.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from zoneinfo import ZoneInfo

from desk.errors import UsageError
from desk.sheets import Row, Sheet
from desk.wandheads import Header, find_header
from desk.wandmaps import WandMap
from devices import wands
from devices.ids import Instant
from devices.wands import BadTime, Role
from rules.clocks import SKEWED
from store.picture import DeviceInfo, Picture, SiteInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row that was read. `what`: the checkpoint or person it stands for, as its identity names
    it; `local`: its time is the site's, without an offset; `holds`: it is a person's tag; `said`:
    the person as the file names them, where the registry knows nobody so called, or several."""

    row: int
    device: DeviceInfo
    site: SiteInfo
    at: Instant
    local: bool
    tag: str
    what: str
    checkpoint_id: int | None
    person_id: int | None
    holds: bool
    said: str | None
    cells: tuple[str, ...]

    @property
    def seq(self) -> int:
        """What makes it one record among its wand's."""
        return wands.row_seq(self.at, self.what)

    @property
    def digest(self) -> int:
        """Of the same."""
        return wands.row_digest(self.at, self.what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that could not be read: which column, and why; with its cells, so nothing is lost."""

    row: int
    column: str
    why: str
    site: str | None
    device: str | None
    cells: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Readout:
    """What a sheet holds. `blank`: rows without time and place: totals, page heads, empty ones;
    `namesakes`: names that several people of the registry have, with how many rows tell them."""

    header: Header
    records: list[Record] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    blank: int = 0
    to_the_minute: int = 0
    unknown_people: dict[str, int] = field(default_factory=dict)
    namesakes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose file it is, as far as the command says: a wand where no column does, and a site."""

    device: str | None = None
    site: str | None = None


class _Bad(Exception):  # noqa: N818  (a row's, never the program's)
    """Why a row cannot be read, and by which column."""

    def __init__(self, role: Role, why: str) -> None:
        self.role = role
        self.why = why
        super().__init__(why)


def read_rows(
    sheet: Sheet, found: WandMap, picture: Picture, whose: Whose, now: Instant
) -> Readout:
    """Read every row below the headings. Raises `DeskError` where the sheet as a whole cannot be.

    That is without the columns that are needed, or for a wand or site that nobody knows.
    """
    header = find_header(sheet.rows, found)
    return _Reader(header, found, picture, whose, now).read(sheet.rows)


# Rows ---------------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    """What a row stands for."""

    tag: str
    what: str
    checkpoint_id: int | None
    person_id: int | None


class _Reader:
    """Reads rows one by one; what is looked up often is laid out once."""

    def __init__(
        self, header: Header, found: WandMap, picture: Picture, whose: Whose, now: Instant
    ) -> None:
        self._header = header
        self._latest = now + SKEWED
        self._map = found
        self._picture = picture
        self._site = self._named_site(whose.site)
        self._wands = _wands_by_number(picture)
        self._only = self._named_wand(whose.device)
        self._people = _by_name({p.slug: p.name for p in picture.people.values()})
        self._points: dict[int, Mapping[str, str | None]] = {}
        self._offset = None if found.offset is None else wands.read_offset(found.offset)
        self._out = Readout(header=header)

    def read(self, rows: Sequence[Row]) -> Readout:
        """The whole sheet."""
        for number, cells in rows:
            if number <= self._header.row:
                continue
            if self._is_blank(cells):
                self._out.blank += 1
                continue
            try:
                self._out.records.append(self._record(number, cells))
            except _Bad as bad:
                self._out.unreadable.append(self._unreadable(number, cells, bad))
        return self._out

    def _unreadable(self, number: int, cells: tuple[str, ...], bad: _Bad) -> Unreadable:
        wand = None
        with suppress(_Bad):
            wand = self._wand(cells)
        site = self._site
        if site is None and wand is not None and len(wand.site_ids) == 1:
            site = self._picture.site_by_id(min(wand.site_ids))
        return Unreadable(
            row=number,
            column=self._header.headings.get(bad.role, bad.role.value),
            why=bad.why,
            site=None if site is None else site.slug,
            device=None if wand is None else wand.slug,
            cells=cells,
        )

    def _cell(self, cells: Sequence[str], role: Role) -> str:
        column = self._header.columns.get(role)
        return "" if column is None or column >= len(cells) else cells[column]

    def _is_blank(self, cells: Sequence[str]) -> bool:
        """Totals and footers say no time; headings are told again on each page."""
        time = self._cell(cells, Role.TIME)
        if wands.heading(time) in self._map.headings(Role.TIME):
            return True
        told = (self._cell(cells, role) for role in (Role.DATE, Role.PLACE, Role.TAG))
        return not time and not any(told)

    def _record(self, number: int, cells: tuple[str, ...]) -> Record:
        wand = self._wand(cells)
        site, at, local = self._when(wand, cells)
        place = self._place(site, at, cells)
        person_id, said = self._person(site, at, cells)
        return Record(
            row=number,
            device=wand,
            site=site,
            at=at,
            local=local,
            tag=place.tag,
            what=place.what,
            checkpoint_id=place.checkpoint_id,
            person_id=place.person_id or person_id,
            holds=place.checkpoint_id is None,
            said=said if place.person_id is None else None,
            cells=cells,
        )

    # Which wand, and where it was.

    def _wand(self, cells: Sequence[str]) -> DeviceInfo:
        told = self._cell(cells, Role.DEVICE)
        if not told:
            if self._only is None:
                raise _Bad(Role.DEVICE, "it says no wand: name it with --device ID")
            return self._only
        found = self._wand_called(told)
        if found is None:
            raise _Bad(
                Role.DEVICE,
                f"no wand has the machine number '{told}': write it into the registry file "
                f'(protocol: wand, address: "{told}"), or into the map\'s devices',
            )
        if found.retired:
            raise _Bad(Role.DEVICE, f"the registry has retired {found.slug}")
        return found

    def _wand_called(self, told: str) -> DeviceInfo | None:
        slug = self._map.devices.get(told)
        if slug is not None:
            return self._picture.device(slug)
        exact = self._picture.reader(wands.PROTOCOL, told)
        alike = self._wands.get(wands.machine(told), [])
        if exact is not None:
            return exact
        if len(alike) > 1:
            names = " and ".join(sorted(one.slug for one in alike))
            raise _Bad(
                Role.DEVICE, f"'{told}' may be {names}: say which in the map, as devices: {{…}}"
            )
        return alike[0] if alike else self._picture.device(told)

    def _when(self, wand: DeviceInfo, cells: Sequence[str]) -> tuple[SiteInfo, Instant, bool]:
        """The site whose clock the row tells, and the instant: where the wand was at the time."""
        time, date = self._cell(cells, Role.TIME), self._cell(cells, Role.DATE)
        text = f"{date} {time}" if date and not _has_date(time) else time
        if not text:
            raise _Bad(Role.TIME, "it says no time")
        last: _Bad | None = None
        for site in self._sites(wand):
            try:
                at, local = self._instant(text, site)
            except BadTime as bad:
                last = last or _Bad(Role.TIME, str(bad))
                continue
            if wand.was_at(site.id, at) == site.id:
                return site, at, local
            last = last or _Bad(
                Role.DEVICE, f"{wand.slug} did not belong to {site.slug} at the time"
            )
        raise last or _Bad(
            Role.DEVICE, f"{wand.slug} may report from several sites: say which with --site ID"
        )

    def _sites(self, wand: DeviceInfo) -> Iterator[SiteInfo]:
        """The sites it may have been at: the one that is asked for, else each it belonged to."""
        if self._site is not None:
            yield self._site
            return
        for site_ids in (wand.site_ids, *(stay.site_ids for stay in wand.before)):
            site = self._picture.site_by_id(min(site_ids)) if len(site_ids) == 1 else None
            if site is not None:
                yield site

    def _instant(self, text: str, site: SiteInfo) -> tuple[Instant, bool]:
        local = wands.read_time(text, self._map.time_format)
        at = wands.instant(local, self._offset or ZoneInfo(site.timezone))
        if at < wands.EARLIEST:
            raise BadTime(f"'{text}' is before 2020: the wand's clock was not set")
        if at > self._latest:
            raise BadTime(
                f"'{text}' has not come yet: the wand's clock is ahead, or the zone wrong"
            )
        self._out.to_the_minute += local.to_the_minute
        return at, local.offset is None

    # Where, and who.

    def _place(self, site: SiteInfo, at: Instant, cells: Sequence[str]) -> _Placed:
        tag, name = self._cell(cells, Role.TAG), self._cell(cells, Role.PLACE)
        for text in wands.tags_meant(tag) if tag else ():
            if found := self._bound(site, text, at):
                return found
        if name:
            slug = self._checkpoint_called(site, name)
            if slug is not None:
                point = self._picture.checkpoint_of(site.id, slug)
                if point is not None:
                    return _Placed(tag or name, f"{site.slug}/{slug}", point.id, None)
            for text in wands.tags_meant(name):
                if found := self._bound(site, text, at):
                    return found
        if not name and not tag:
            named = Role.PLACE if Role.PLACE in self._header.columns else Role.TAG
            raise _Bad(named, "it says neither place nor tag")
        role, told = (Role.PLACE, name) if name else (Role.TAG, tag)
        raise _Bad(
            role,
            f"no checkpoint of {site.slug} is called '{told}', and no tag: write it among a "
            f"checkpoint's tags, or into the map with --place '{told}=ID'",
        )

    def _bound(self, site: SiteInfo, text: str, at: Instant) -> _Placed | None:
        """What a tag stood for."""
        place = self._picture.place(site.id, text, at)
        if place.checkpoint_id is not None:
            return _Placed(text, f"{site.slug}/{place.slug}", place.checkpoint_id, None)
        if place.person_id is not None:
            return _Placed(text, str(place.slug), None, place.person_id)
        return None

    def _checkpoint_called(self, site: SiteInfo, name: str) -> str | None:
        """By the map, by its name in the registry, by its id."""
        mapped = self._map.places.get(name)
        if mapped is not None:
            if self._picture.checkpoint_of(site.id, mapped) is None:
                raise _Bad(
                    Role.PLACE,
                    f"the map says '{name}' is {mapped}, and {site.slug} has no such checkpoint",
                )
            return mapped
        if site.id not in self._points:
            here = (p for p in self._picture.checkpoints.values() if p.site_id == site.id)
            self._points[site.id] = _by_name({p.slug: p.name for p in here if not p.retired})
        known = self._points[site.id]
        if name in known and known[name] is None:
            raise _Bad(Role.PLACE, f"{site.slug} has several checkpoints called '{name}'")
        return known.get(name)

    def _person(
        self, site: SiteInfo, at: Instant, cells: Sequence[str]
    ) -> tuple[int | None, str | None]:
        told = self._cell(cells, Role.PERSON)
        if not told:
            return None, None
        slug = self._map.people.get(told) or self._people.get(told)
        found = None if slug is None else self._picture.person(slug)
        if found is not None:
            return found.id, None
        for text in wands.tags_meant(told):
            person_id = self._picture.place(site.id, text, at).person_id
            if person_id is not None:
                return person_id, None
        several = self._people.get(told, told) is None
        counts = self._out.namesakes if several else self._out.unknown_people
        counts[told] = counts.get(told, 0) + 1
        return None, told

    # What the command says.

    def _named_site(self, slug: str | None) -> SiteInfo | None:
        if slug is None:
            return None
        found = self._picture.site(slug)
        if found is None:
            raise UsageError(f"no site has the id {slug!r}", "gridbeat registry apply FILE")
        return found

    def _named_wand(self, slug: str | None) -> DeviceInfo | None:
        """The wand of rows that name none: the one that is asked for, or the only one there is."""
        if slug is not None:
            found = self._picture.device(slug)
            if found is None or found.retired:
                raise UsageError(f"no device has the id {slug!r}", "gridbeat device list")
            return found
        every = [one for alike in self._wands.values() for one in alike if not one.retired]
        if self._site is not None:
            every = [one for one in every if self._site.id in one.site_ids]
        if Role.DEVICE in self._header.columns or len(every) == 1:
            return every[0] if len(every) == 1 else None
        known = ", ".join(sorted(one.slug for one in every)) or "none in the registry"
        raise UsageError(
            "the file has no column that tells which wand it was read from",
            f"name it with --device (wands: {known})",
        )


_dated = re.compile(r"\d\s*[-/年]\s*\d|\d{4}\.\d|\d{8}").search


def _has_date(text: str) -> bool:
    """Whether a time tells its day as well, so that a column of dates is not needed."""
    return _dated(unicodedata.normalize("NFKC", text)) is not None


def _wands_by_number(picture: Picture) -> dict[str, list[DeviceInfo]]:
    found: defaultdict[str, list[DeviceInfo]] = defaultdict(list)
    for (protocol, address), device in picture.readers.items():
        if protocol == wands.PROTOCOL:
            found[wands.machine(address)].append(device)
    return dict(found)


def _by_name(names: Mapping[str, str]) -> dict[str, str | None]:
    """Ids by id and by name; None where several are called so."""
    found: dict[str, str | None] = {}
    for slug, name in names.items():
        found[name] = None if name in found else slug
    return {**found, **{slug: slug for slug in names}}
