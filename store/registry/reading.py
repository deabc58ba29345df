"""From YAML to a `Document`: the keys each kind of thing has, and how each value is read.

Units are put right here (spans of time to ms, tags to their normal form); whether things agree
with each other is for `checks`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from zoneinfo import available_timezones

from devices import topics
from devices.ids import RESERVED, is_slug, normalize_tag
from rules.calendar import Base, Calendar, DayClass, Term
from rules.durations import format_duration, parse_duration
from rules.holders import USUAL, Hold
from rules.periods import Per, Times
from rules.plans import Window
from rules.promises import APART_MS
from store.registry.document import (
    PROTOCOLS,
    AreaSpec,
    CheckpointSpec,
    DeviceSpec,
    Document,
    Named,
    NodeSpec,
    PersonSpec,
    PlanSpec,
    Proof,
    Risk,
    RouteItem,
    SiteSpec,
    Tree,
)
from store.registry.fields import FILE, Fields, choice, meant, one_of
from store.registry.nodes import Group, Node, Scalar, parse

T = TypeVar("T")

DAY_MS = 86_400_000
MAX_NAME = 100
MAX_TAG = 128

_date = re.compile(r"\d{4}-\d\d-\d\d").fullmatch
_control = re.compile(r"[\x00-\x1f\x7f]").search


def read_registry(path: Path) -> Document:
    """Read a registry file. Raises OSError, and RegistryRefused for what is no YAML."""
    return read_document(path.read_bytes())


def read_document(data: bytes) -> Document:
    """Read a registry file's bytes; what is wrong stands in `problems`.

    Raises RegistryRefused where nothing can be read: no YAML, not UTF-8.
    """
    root, problems = parse(data)
    top = Fields(root if isinstance(root, Group) else Group(root.line, {}), FILE, problems)
    if not isinstance(root, Group):
        top.wrong(root.line, "holds no registry: begin as examples/registry.yaml does")
    calendar = _calendar(top)

    def each(name: str, kind: str, read: Callable[[Fields], T | None]) -> tuple[T, ...]:
        return _read(read, (Fields(node, kind, problems) for node in top.items(name)))

    nodes, people = each("grids", "grid", _node), each("people", "person", _person)
    devices, sites = each("devices", "device", _grid_device), each("sites", "site", _site)
    top.finish()
    return Document(
        calendar=calendar,
        nodes=nodes,
        people=people,
        grid_devices=devices,
        sites=sites,
        digest=hashlib.sha256(data).hexdigest(),
        problems=tuple(problems),
    )


def _read(read: Callable[[Fields], T | None], each: Iterable[Fields]) -> tuple[T, ...]:
    return tuple(thing for thing in map(read, each) if thing is not None)


def _parts(
    fields: Fields, name: str, kind: str, read: Callable[[Fields], T | None]
) -> tuple[T, ...]:
    """The things of a site's list, each read in the site's name."""
    return _read(read, (fields.below(node, kind) for node in fields.items(name)))


# Values ------------------------------------------------------------------------------------------


def _slug(fields: Fields) -> str:
    """The id; a bad one is kept as it stands, so that what names it is not wrong as well."""
    text, node = fields.needed("id", str, fallback=""), fields.node("id")
    if text and node and not is_slug(text):
        fields.wrong(node.line, f"id: {_slug_remedy(text)}")
    return text


def _slug_remedy(text: str) -> str:
    if text in RESERVED:
        return f"'{text}' is reserved ({', '.join(sorted(RESERVED))}): choose another"
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63]
    hint = f", as in {near}" if is_slug(near) else ""
    return f"'{text}' is no id: write 1 to 63 of a-z, 0-9 and -{hint}"


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > MAX_NAME or _control(name):
        raise ValueError(f"write 1 to {MAX_NAME} characters on one line")
    return name


def _word(text: str) -> str:
    if not is_slug(text):
        raise ValueError(_slug_remedy(text))
    return text


def _tag(text: str) -> str:
    if not text.strip() or len(text) > MAX_TAG:
        raise ValueError(f"write 1 to {MAX_TAG} characters, as the reader shows them")
    return normalize_tag(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"'{text}' is neither: write true or false")
    return text.lower() == "true"


def _level(text: str) -> int:
    if not re.fullmatch(r"[1-9]", text):
        raise ValueError(f"'{text}' is no level: write 1 (the top) to 9")
    return int(text)


def _count(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[1-9][0-9]?", text) or int(text) > most:
            raise ValueError(f"'{text}' is no count: write 1 to {most}")
        return int(text)

    return read


def _degrees(limit: int) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = limit + 1.0
        if not abs(found) <= limit:
            raise ValueError(f"'{text}' is no angle: write degrees from -{limit} to {limit}")
        return found

    return read


def _span(low: int, high: int = DAY_MS) -> Callable[[str], int]:
    def read(text: str) -> int:
        found = parse_duration(text)
        if not low <= found <= high:
            limits = f"{format_duration(low)} to {format_duration(high)}"
            raise ValueError(f"'{text}' is out of range: write {limits}")
        return found

    return read


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(text: str) -> str:
    if text not in _zones():
        remedy = meant(text, _zones()) or ": write one as Asia/Shanghai"
        raise ValueError(f"'{text}' is no time zone{remedy}")
    return text


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text if _date(text) else "")
    except ValueError:
        raise ValueError(f"'{text}' is no date: write it as 2026-09-01") from None


def _tags(fields: Fields) -> tuple[Named, ...]:
    return tuple(Named(tag, line) for tag, line in fields.many("tags", _tag))


def _names(fields: Fields, name: str, *, needed: bool = False) -> tuple[Named, ...]:
    return tuple(Named(text, line) for text, line in fields.many(name, str, needed=needed))


# Things ------------------------------------------------------------------------------------------


def _calendar(top: Fields) -> Calendar:
    base = top.scalar("calendar", choice(Base), fallback=Base.CN)
    node = top.node("terms")
    if node is None:
        return Calendar(base=base, terms=None)
    found = (_term(item, top) for item in top.items("terms", needed=True))
    terms = sorted((term for term in found if term), key=lambda term: term[0].since)
    for (before, _), (after, line) in pairwise(terms):
        if after.since <= before.until:
            top.wrong(line, f"terms: this one begins before {before.until}, when another ends")
    return Calendar(base=base, terms=tuple(term for term, _ in terms))


def _term(node: Node, top: Fields) -> tuple[Term, int] | None:
    fields = top.below(node, "term")
    since = fields.needed("from", _day, fallback=None)
    until = fields.needed("to", _day, fallback=None)
    fields.finish()
    if since is None or until is None:
        return None
    try:
        return Term(since=since, until=until), node.line
    except ValueError as cause:
        fields.wrong(node.line, str(cause))
        return None


def _node(fields: Fields) -> NodeSpec | None:
    found = NodeSpec(
        line=fields.line,
        slug=_slug(fields),
        name=fields.needed("name", _name, fallback=""),
        tree=fields.needed("tree", choice(Tree), fallback=Tree.SECTOR),
        level=fields.needed("level", _level, fallback=1),
        parent=fields.named("parent"),
    )
    fields.finish()
    return found if found.slug else None


def _person(fields: Fields) -> PersonSpec | None:
    found = PersonSpec(
        line=fields.line,
        slug=_slug(fields),
        name=fields.needed("name", _name, fallback=""),
        roles=tuple(dict.fromkeys(role for role, _ in fields.many("roles", _word))),
        tags=_tags(fields),
    )
    fields.finish()
    return found if found.slug else None


def _grid_device(fields: Fields) -> DeviceSpec | None:
    grid = fields.named("grid")
    if grid is None:
        fields.wrong(fields.line, "'grid' is missing: name a grid node, or put it under a site")
    return _device(fields, None, grid)


def _device(fields: Fields, site: str | None, grid: Named | None) -> DeviceSpec | None:
    found = DeviceSpec(
        line=fields.line,
        slug=_slug(fields),
        site=site,
        grid=grid,
        protocol=fields.scalar("protocol", one_of(PROTOCOLS), fallback=topics.PROTOCOL),
        address=fields.named("address"),
        checkpoint=fields.named("checkpoint"),
        heartbeat=fields.scalar("heartbeat", _span(1_000), fallback=None),
    )
    fields.finish()
    return found if found.slug else None


def _site(fields: Fields) -> SiteSpec | None:
    slug = _slug(fields)

    def device(fields: Fields) -> DeviceSpec | None:
        return _device(fields, slug, None)

    found = SiteSpec(
        line=fields.line,
        slug=slug,
        name=fields.needed("name", _name, fallback=""),
        timezone=fields.needed("timezone", _timezone, fallback="UTC"),
        person_tag_holds=fields.scalar("person_tag_holds", Hold.parse, fallback=USUAL),
        belongs_to=_names(fields, "belongs_to"),
        areas=_parts(fields, "areas", "area", _area),
        checkpoints=_parts(fields, "checkpoints", "checkpoint", _checkpoint),
        devices=_parts(fields, "devices", "device", device),
        plans=_parts(fields, "plans", "plan", _plan),
    )
    fields.finish()
    return found if slug else None


def _area(fields: Fields) -> AreaSpec | None:
    found = AreaSpec(
        line=fields.line,
        slug=_slug(fields),
        name=fields.needed("name", _name, fallback=""),
        leader=fields.named("leader"),
        parent=fields.named("parent"),
    )
    fields.finish()
    return found if found.slug else None


def _checkpoint(fields: Fields) -> CheckpointSpec | None:
    lat, lon = _position(fields)
    found = CheckpointSpec(
        line=fields.line,
        slug=_slug(fields),
        name=fields.needed("name", _name, fallback=""),
        area=fields.named("area"),
        tags=_tags(fields),
        risk=fields.scalar("risk", choice(Risk), fallback=None),
        proof=fields.scalar("proof", choice(Proof), fallback=None),
        lat=lat,
        lon=lon,
    )
    fields.finish()
    return found if found.slug else None


def _position(fields: Fields) -> tuple[float | None, float | None]:
    node = fields.node("pos")
    if node is None:
        return None, None
    pos = fields.below(node, "pos")
    lat = pos.needed("lat", _degrees(90), fallback=None)
    lon = pos.needed("lon", _degrees(180), fallback=None)
    pos.finish()
    return lat, lon


def _plan(fields: Fields) -> PlanSpec | None:
    days = fields.many("days", choice(DayClass), needed=fields.node("days") is not None)
    quota = _quota(fields)
    found = PlanSpec(
        line=fields.line,
        slug=_slug(fields),
        name=fields.needed("name", _name, fallback=""),
        route=_route(fields),
        ordered=fields.scalar("ordered", _truth, fallback=False),
        days=frozenset(day for day, _ in days) or None,
        windows=tuple(
            w for w, _ in fields.many("windows", Window.parse, needed=fields.node("quota") is None)
        ),
        grace=fields.scalar("grace", _span(0), fallback=0),
        early=fields.scalar("early", _span(0), fallback=0),
        min_gap=fields.scalar("min_gap", _span(0), fallback=0),
        every=fields.scalar("every", _span(60_000), fallback=None),
        people=fields.scalar("people", _count(9), fallback=1),
        max_gap=fields.scalar("max_gap", _span(1_000), fallback=0),
        apart=fields.scalar("apart", _span(0), fallback=APART_MS),
        quota=quota,
    )
    fields.finish()
    return found if found.slug else None


def _route(fields: Fields) -> tuple[RouteItem, ...]:
    """Checkpoints by their id, or as `{checkpoint: lab, visits: 2}`."""
    found = (_route_item(fields, node) for node in fields.items("route", needed=True))
    return tuple(item for item in found if item is not None)


def _route_item(fields: Fields, node: Node) -> RouteItem | None:
    if not isinstance(node, Group):
        if isinstance(node, Scalar) and node.text:
            return RouteItem(node.text, node.line)
        fields.wrong(node.line, "route: each item must be an id, or {checkpoint: …, visits: 2}")
        return None
    item = fields.below(node, "route")
    named = item.named("checkpoint")
    if named is None:
        item.wrong(node.line, "'checkpoint' is missing: add it, as in checkpoint: gate-east")
    visits = item.scalar("visits", _count(99), fallback=None)
    optional = item.scalar("optional", _truth, fallback=False)
    if optional and visits is not None:
        item.wrong(node.line, "'optional' and 'visits' contradict each other: keep one")
    item.finish()
    return None if named is None else RouteItem(named.text, node.line, visits, optional)


def _quota(fields: Fields) -> Times | None:
    node = fields.node("quota")
    if node is None:
        return None
    quota = fields.below(node, "quota")
    visits = quota.scalar("visits", _count(99), fallback=1)
    per = quota.needed("per", choice(Per), fallback=None)
    quota.finish()
    return None if per is None else Times(visits=visits, per=per)
