"""What a file would change in the ledger. Pure: a document and a holding in, changes out.

A file owns the sites it names: areas, checkpoints, devices and plans of such a site that it does
not name are retired, and come back when they are named again. Everything else that it does not
name is left alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rules.durations import format_duration
from store.registry.document import Document, SiteSpec
from store.registry.held import Held, Holder, Holding, Key, Kind

Values = Mapping[str, Any]

PER_SITE = (Kind.AREA, Kind.CHECKPOINT, Kind.PLAN)
SPANS = ("grace", "early", "min_gap", "max_gap", "apart", "every", "heartbeat_ms")


class Action(StrEnum):
    """What happens to a thing."""

    ADDED = "added"
    CHANGED = "changed"
    RETIRED = "retired"
    RETURNED = "returned"


SIGNS = {Action.ADDED: "+", Action.CHANGED: "~", Action.RETIRED: "-", Action.RETURNED: "+"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is added, changed, retired or returns. `values`: all it shall be."""

    kind: Kind
    action: Action
    key: Key
    values: Values
    what: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the registry's history keeps it."""
        return {
            "kind": str(self.kind),
            "action": str(self.action),
            "site": self.key.site,
            "id": self.key.slug,
            "what": list(self.what),
        }

    def __str__(self) -> str:
        words = f": {'; '.join(self.what)}" if self.what else ""
        back = " (returns)" if self.action is Action.RETURNED else ""
        return f"{SIGNS[self.action]} {self.kind} {self.key}{back}{words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Everything a file changes. `tags`: what each moved tag stands for from now on, or None."""

    things: tuple[Change, ...]
    tags: Mapping[str, Holder | None]

    def __bool__(self) -> bool:
        return bool(self.things or self.tags)

    def of(self, kind: Kind, *actions: Action) -> Iterator[Change]:
        """The changes of one kind and any of the actions."""
        return (found for found in self.things if found.kind is kind and found.action in actions)

    def counts(self) -> dict[Kind, dict[Action, int]]:
        """How many of each kind, kinds without a change left out."""
        found: dict[Kind, dict[Action, int]] = {}
        for change in self.things:
            of_kind = found.setdefault(change.kind, {})
            of_kind[change.action] = of_kind.get(change.action, 0) + 1
        return found


def compare(document: Document, holding: Holding) -> Changes:
    """What the document, which must be free of problems, changes in the ledger."""
    wanted = wanted_things(document)
    sites = {site.slug for site in document.sites}
    things = [
        change for kind in Kind for change in _differences(kind, wanted[kind], holding, sites)
    ]
    return Changes(things=tuple(things), tags=_tag_moves(wanted, holding, sites))


def wanted_things(document: Document) -> dict[Kind, dict[Key, Values]]:
    """What the document says of each thing, by the ledger's columns."""
    wanted: dict[Kind, dict[Key, Values]] = {kind: {} for kind in Kind}
    for node in document.nodes:
        wanted[Kind.GRID][Key(None, node.slug)] = {
            "name": node.name,
            "tree": str(node.tree),
            "level": node.level,
            "parent_id": Key(None, node.parent.text) if node.parent else None,
        }
    for person in document.people:
        wanted[Kind.PERSON][Key(None, person.slug)] = {
            "name": person.name,
            "roles": list(person.roles),
            "tags": tuple(sorted(tag.text for tag in person.tags)),
        }
    for device in document.devices():
        wanted[Kind.DEVICE][Key(None, device.slug)] = {
            "protocol": device.protocol,
            "address": device.address.text if device.address else None,
            "heartbeat_ms": device.heartbeat,
            "site_id": Key(None, device.site) if device.site else None,
            "node_id": Key(None, device.grid.text) if device.grid else None,
            "checkpoint_id": (
                Key(device.site, device.checkpoint.text)
                if device.site and device.checkpoint
                else None
            ),
        }
    calendar = document.calendar.to_json()
    for site in document.sites:
        _add_site(wanted, site, calendar)
    return wanted


def _add_site(wanted: dict[Kind, dict[Key, Values]], site: SiteSpec, calendar: Values) -> None:
    wanted[Kind.SITE][Key(None, site.slug)] = {
        "name": site.name,
        "timezone": site.timezone,
        "person_tag_holds": str(site.person_tag_holds),
        "calendar": calendar,
        "belongs_to": tuple(sorted(Key(None, named.text) for named in site.belongs_to)),
    }
    for area in site.areas:
        wanted[Kind.AREA][Key(site.slug, area.slug)] = {
            "name": area.name,
            "leader_id": Key(None, area.leader.text) if area.leader else None,
            "parent_id": Key(site.slug, area.parent.text) if area.parent else None,
        }
    for point in site.checkpoints:
        wanted[Kind.CHECKPOINT][Key(site.slug, point.slug)] = {
            "name": point.name,
            "risk": None if point.risk is None else str(point.risk),
            "proof": None if point.proof is None else str(point.proof),
            "lat": point.lat,
            "lon": point.lon,
            "area_id": Key(site.slug, point.area.text) if point.area else None,
            "tags": tuple(sorted(tag.text for tag in point.tags)),
        }
    for plan in site.plans:
        wanted[Kind.PLAN][Key(site.slug, plan.slug)] = {"terms": site.plan(plan).to_json()}


def _differences(
    kind: Kind, wanted: Mapping[Key, Values], holding: Holding, sites: set[str]
) -> Iterator[Change]:
    held = holding.things[kind]
    for key, values in wanted.items():
        if key not in held:
            yield Change(kind=kind, action=Action.ADDED, key=key, values=values)
            continue
        what = tuple(_described(held[key].values, values))
        if held[key].retired:
            yield Change(kind=kind, action=Action.RETURNED, key=key, values=values)
        elif what:
            yield Change(kind=kind, action=Action.CHANGED, key=key, values=values, what=what)
    for key, found in held.items():
        if key not in wanted and not found.retired and _owned(kind, key, found, sites):
            yield Change(kind=kind, action=Action.RETIRED, key=key, values=found.values)


def _owned(kind: Kind, key: Key, held: Held, sites: set[str]) -> bool:
    if kind is Kind.DEVICE:
        site = held.values["site_id"]
        return site is not None and site.slug in sites
    return kind in PER_SITE and key.site in sites


def _tag_moves(
    wanted: Mapping[Kind, Mapping[Key, Values]], holding: Holding, sites: set[str]
) -> dict[str, Holder | None]:
    """Tags that stand for something else from now on; None: for nothing.

    Whoever the file names has exactly the tags it names there; so have the checkpoints of its
    sites, and those that are retired have none.
    """
    shall = {
        uid: Holder(kind, key)
        for kind in (Kind.PERSON, Kind.CHECKPOINT)
        for key, values in wanted[kind].items()
        for uid in values["tags"]
    }
    freed = {
        uid: None
        for uid, holder in holding.bound.items()
        if uid not in shall and (holder.key in wanted[holder.kind] or holder.key.site in sites)
    }
    return {**freed, **{u: holder for u, holder in shall.items() if holding.bound.get(u) != holder}}


def _described(was: Values, now: Values) -> Iterator[str]:
    """Each value that differs, in words; a plan's terms and a calendar member by member."""
    for name in {**now, **was}:  # a member that says nothing special may be left out of either
        before, after = was.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _described(before, after)
        elif before != after:
            label = name.removesuffix("_id").removesuffix("_ms")
            yield f"{label} {_shown(name, before)} → {_shown(name, after)}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in SPANS:
        return format_duration(value)
    if isinstance(value, Key):
        return value.slug
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown('', item) for item in value)}]"
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values() if part is not None)
    return str(value)
