"""Whether a file agrees with itself and with the ledger. Every check tells all it finds.

A name that the file does not explain may stand in the ledger: people and grid nodes are shared by
many files. What belongs to a site that this file does not name cannot be taken away by it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from devices import wands
from devices.adapters.table import ADAPTERS
from rules.durations import format_duration
from rules.plans import Window
from store.registry.document import (
    DeviceSpec,
    Document,
    Named,
    NodeSpec,
    PlanSpec,
    SiteSpec,
    Tree,
)
from store.registry.fields import meant
from store.registry.held import Holding, Key, Kind
from store.registry.nodes import Problem

Found = Iterator[Problem]

DAY_MINUTES = 1_440


def problems(document: Document, holding: Holding) -> tuple[Problem, ...]:
    """Everything that refuses the file, what reading it found wrong included, by line."""
    found = chain(document.problems, *(check(document, holding) for check in CHECKS))
    return tuple(sorted(set(found)))


# Once --------------------------------------------------------------------------------------------


def _ids_once(document: Document, _: Holding) -> Found:
    yield from _once("grid", ((node.slug, node.line) for node in document.nodes))
    yield from _once("person", ((person.slug, person.line) for person in document.people))
    yield from _once("site", ((site.slug, site.line) for site in document.sites))
    for site in document.sites:
        of = f" of {site.slug}"
        yield from _once("area", ((area.slug, area.line) for area in site.areas), of)
        yield from _once("checkpoint", ((p.slug, p.line) for p in site.checkpoints), of)
        yield from _once("plan", ((plan.slug, plan.line) for plan in site.plans), of)


def _once(kind: str, things: Iterable[tuple[str, int]], of: str = "") -> Found:
    first: dict[str, int] = {}
    for slug, line in things:
        if slug in first:
            yield Problem(
                line, f"{kind} '{slug}'{of} stands here and in line {first[slug]}: keep one"
            )
        first.setdefault(slug, line)


def _devices_once(document: Document, _: Holding) -> Found:
    first: dict[str, tuple[str, int]] = {}
    for device in document.devices():
        place = device.site or (device.grid.text if device.grid else "no grid")
        if device.slug in first:
            other, line = first[device.slug]
            yield Problem(
                device.line,
                f"device '{device.slug}' belongs to {place} here and to {other} in line {line}: "
                "a device has one place, keep one",
            )
        first.setdefault(device.slug, (place, device.line))


def _addresses(document: Document, holding: Holding) -> Found:
    """What a foreign reader is called in its own topics: there, well-formed, and only one's."""
    named = {device.slug for device in document.devices()}
    first = {
        (held.values["protocol"], held.values["address"]): f"{key}, which this file does not name"
        for key, held in holding.things[Kind.DEVICE].items()
        if held.values["address"] and not held.retired and key.slug not in named
    }
    for device in document.devices():
        yield from _address(device)
        if device.address is None:
            continue
        address = device.protocol, device.address.text
        if address in first:
            yield Problem(
                device.address.line,
                f"device '{device.slug}' has the address '{device.address.text}', and so has "
                f"{first[address]}: an address is one reader's, keep one",
            )
        first.setdefault(address, f"'{device.slug}' (line {device.line})")


def _address(device: DeviceSpec) -> Found:
    form = _address_form(device.protocol)
    if form is None:
        if device.address is not None:
            yield Problem(
                device.address.line,
                f"device '{device.slug}' speaks our contract, where its id is its address: take "
                "`address` out, or name the `protocol` of its maker",
            )
    elif device.address is None:
        yield Problem(
            device.line,
            f"device '{device.slug}' needs an `address`: {form.example}",
        )
    elif not form.address.fullmatch(device.address.text):
        yield Problem(
            device.address.line,
            f"device '{device.slug}': '{device.address.text}' is no address of "
            f"{device.protocol}: write {form.example}",
        )


class _Form(NamedTuple):
    """What an address is, as a pattern and in words."""

    address: re.Pattern[str]
    example: str


def _address_form(protocol: str) -> _Form | None:
    """Of a reader that is not of our contract; None where the device's id is its address."""
    if protocol == wands.PROTOCOL:
        return _Form(wands.MACHINE, wands.EXAMPLE)
    adapter = ADAPTERS.get(protocol)
    return None if adapter is None else _Form(adapter.address, adapter.example)


def _tags_once(document: Document, _: Holding) -> Found:
    first: dict[str, tuple[str, int]] = {}
    for holder, tag in _tags(document):
        if tag.text in first:
            other, line = first[tag.text]
            yield Problem(
                tag.line,
                f"tag '{tag.text}' is on {holder} and on {other} (line {line}): "
                "a tag stands for one thing, keep one",
            )
        first.setdefault(tag.text, (holder, tag.line))


def _tags(document: Document) -> Iterator[tuple[str, Named]]:
    for person in document.people:
        yield from ((f"person '{person.slug}'", tag) for tag in person.tags)
    for site in document.sites:
        for point in site.checkpoints:
            name = f"checkpoint '{site.slug}/{point.slug}'"
            yield from ((name, tag) for tag in point.tags)


# Names -------------------------------------------------------------------------------------------


def _names_known(document: Document, holding: Holding) -> Found:
    grids = {node.slug for node in document.nodes} | _held(holding, Kind.GRID)
    people = {person.slug for person in document.people} | _held(holding, Kind.PERSON)
    for node in document.nodes:
        yield from _known(node.parent, grids, f"the parent of grid '{node.slug}'", "no grid")
    for device in document.grid_devices:
        yield from _known(device.grid, grids, f"the grid of device '{device.slug}'", "no grid")
        if device.checkpoint is not None:
            yield Problem(
                device.checkpoint.line,
                f"device '{device.slug}' goes from site to site and hangs at no checkpoint: take "
                "`checkpoint` out, or put the device under its site",
            )
    for site in document.sites:
        for named in site.belongs_to:
            yield from _known(named, grids, f"a grid that '{site.slug}' belongs to", "no grid")
        for area in site.areas:
            what = f"the leader of area '{area.slug}'"
            yield from _known(area.leader, people, what, "no person")
        yield from _names_known_within(site)


def _held(holding: Holding, kind: Kind) -> set[str]:
    return {key.slug for key in holding.things[kind]}


def _known(named: Named | None, known: set[str], what: str, nothing: str) -> Found:
    if named is not None and named.text not in known:
        remedy = meant(named.text, known) or ": add it, or correct the id"
        yield Problem(named.line, f"{what} is '{named.text}', which {nothing} is called{remedy}")


def _names_known_within(site: SiteSpec) -> Found:
    areas = {area.slug for area in site.areas}
    points = {point.slug for point in site.checkpoints}
    no_area, no_point = f"no area of {site.slug}", f"no checkpoint of {site.slug}"
    for area in site.areas:
        yield from _known(area.parent, areas, f"the parent of area '{area.slug}'", no_area)
    for point in site.checkpoints:
        yield from _known(point.area, areas, f"the area of checkpoint '{point.slug}'", no_area)
    for device in site.devices:
        what = f"where device '{device.slug}' hangs"
        yield from _known(device.checkpoint, points, what, no_point)
    for plan in site.plans:
        for named in plan.route:
            if named.text not in points:
                remedy = meant(named.text, points) or ": add it, or take it off the route"
                yield Problem(
                    named.line,
                    f"plan '{plan.slug}' visits '{named.text}', which {no_point} is called{remedy}",
                )


# Trees -------------------------------------------------------------------------------------------


def _grids(document: Document, holding: Holding) -> dict[str, tuple[str, int, str | None]]:
    """Tree, level and parent of every node, as it will be."""
    found: dict[str, tuple[str, int, str | None]] = {}
    for key, held in holding.things[Kind.GRID].items():
        parent = held.values["parent_id"]
        found[key.slug] = (
            held.values["tree"],
            held.values["level"],
            parent.slug if parent else None,
        )
    for node in document.nodes:
        found[node.slug] = (node.tree, node.level, node.parent.text if node.parent else None)
    return found


def _grid_trees(document: Document, holding: Holding) -> Found:
    grids = _grids(document, holding)
    parents = {slug: parent for slug, (_, _, parent) in grids.items()}
    for node in document.nodes:
        yield from _one_tree_for_good(node, holding)
        if node.parent is None or node.parent.text not in grids:
            continue
        line, (tree, level, _) = node.parent.line, grids[node.parent.text]
        if _in_circle(node.slug, parents):
            yield Problem(line, f"grid '{node.slug}' is above itself: correct a parent of its")
        elif tree != node.tree:
            yield Problem(
                line,
                f"grid '{node.slug}' is of tree {node.tree}, its parent '{node.parent.text}' of "
                f"{tree}: a tree does not cross, name a parent of the same",
            )
        elif level >= node.level:
            yield Problem(
                line,
                f"grid '{node.slug}' has level {node.level}, its parent '{node.parent.text}' "
                f"{level}: a parent's level is the smaller number",
            )


def _one_tree_for_good(node: NodeSpec, holding: Holding) -> Found:
    held = holding.things[Kind.GRID].get(Key(None, node.slug))
    if held is not None and held.values["tree"] != node.tree:
        yield Problem(
            node.line,
            f"grid '{node.slug}' is of tree {held.values['tree']} in the ledger: a node keeps its "
            "tree, give the new one another id",
        )


def _in_circle(slug: str, parents: Mapping[str, str | None]) -> bool:
    seen: set[str] = set()
    at: str | None = parents.get(slug)
    while at is not None and at not in seen:
        if at == slug:
            return True
        seen.add(at)
        at = parents.get(at)
    return False


def _sites_hang_once(document: Document, holding: Holding) -> Found:
    grids = _grids(document, holding)
    for site in document.sites:
        first: dict[str, str] = {}
        for named in site.belongs_to:
            tree = grids[named.text][0] if named.text in grids else None
            if tree is not None and tree in first:
                yield Problem(
                    named.line,
                    f"site '{site.slug}' hangs on '{first[tree]}' and '{named.text}', both of "
                    f"tree {Tree(tree)}: name one node of each tree",
                )
            if tree is not None:
                first.setdefault(tree, named.text)


def _area_trees(document: Document, _: Holding) -> Found:
    for site in document.sites:
        parents = {area.slug: area.parent.text if area.parent else None for area in site.areas}
        for area in site.areas:
            if area.parent is not None and _in_circle(area.slug, parents):
                yield Problem(
                    area.parent.line,
                    f"area '{area.slug}' of {site.slug} is above itself: correct a parent of its",
                )


# Plans -------------------------------------------------------------------------------------------


def _plans_make_sense(document: Document, _: Holding) -> Found:
    for site in document.sites:
        points = {point.slug for point in site.checkpoints}
        for plan in site.plans:
            yield from (Problem(plan.line, text) for text in _contradictions(plan))
            route = ((item.text, item.line) for item in plan.route)
            yield from _once("checkpoint", route, f" on the route of plan '{plan.slug}'")
            if (plan.windows or plan.quota) and any(named.text in points for named in plan.route):
                yield from _refused_by_rules(site, plan)


def _refused_by_rules(site: SiteSpec, plan: PlanSpec) -> Found:
    try:
        site.plan(plan)
    except ValueError as cause:
        yield Problem(plan.line, str(cause))


def _contradictions(plan: PlanSpec) -> Iterator[str]:
    """Of the longest allowed gap: its clock starts at `opens`, and each checkpoint has its own."""
    if plan.every is None:
        return
    name = f"plan '{plan.slug}'"
    if plan.ordered:
        yield f"{name} has `every`, which knows no order: take `ordered` out"
    if plan.early:
        yield f"{name} has `every`, whose clock starts when the window opens: take `early` out"
    for window in plan.windows:
        if plan.every >= _length_ms(window):
            yield (
                f"{name} allows {format_duration(plan.every)} between visits, but its window "
                f"{window} is no longer than that, so it would never tell: lengthen the window, "
                "or make `every` shorter"
            )


def _length_ms(window: Window) -> int:
    opens, closes = (at.hour * 60 + at.minute for at in (window.opens, window.closes))
    return ((closes - opens) % DAY_MINUTES or DAY_MINUTES) * 60_000


# What is others' ---------------------------------------------------------------------------------


def _devices_of_others(document: Document, holding: Holding) -> Found:
    sites = {site.slug for site in document.sites}
    for device in document.devices():
        held = holding.things[Kind.DEVICE].get(Key(None, device.slug))
        site = held.values["site_id"] if held and not held.retired else None
        if site is not None and site.slug not in sites:
            yield Problem(
                device.line,
                f"device '{device.slug}' belongs to {site}, which this file does not name: "
                "take it out of that site's file first",
            )


def _tags_of_others(document: Document, holding: Holding) -> Found:
    sites = {site.slug for site in document.sites}
    people = {person.slug for person in document.people}
    for _, tag in _tags(document):
        bound = holding.bound.get(tag.text)
        if bound is None or bound.key.site in sites:
            continue
        if bound.kind is Kind.PERSON and bound.key.slug in people:
            continue
        yield Problem(
            tag.line,
            f"tag '{tag.text}' is on {bound.kind} '{bound.key}', which this file does not name: "
            "take it off there first",
        )


CHECKS: tuple[Callable[[Document, Holding], Found], ...] = (
    _ids_once,
    _devices_once,
    _addresses,
    _tags_once,
    _names_known,
    _grid_trees,
    _sites_hang_once,
    _area_trees,
    _plans_make_sense,
    _devices_of_others,
    _tags_of_others,
)
