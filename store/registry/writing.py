"""Changes, put into the ledger's tables. Called inside one write transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from devices.ids import Instant
from rules.plans import Plan
from store.registry.changes import Action, Change, Changes
from store.registry.held import PLACE, SHAPES, SITE_GRID, TAG, VERSION, Holding, Key, Kind

Row = dict[str, Any]
Ids = dict[Kind, dict[Key, int]]


def write(connection: Connection, changes: Changes, holding: Holding, now: Instant) -> None:
    """Write every change, dated `now`. `holding` must be what the ledger holds."""
    ids = holding.ids()
    for kind in Kind:
        _add(connection, kind, changes, ids)
        _set(connection, kind, changes, ids, now)
    _hang(connection, changes, ids)
    _move_devices(connection, changes, holding, ids, now)
    _move_tags(connection, changes, holding, ids, now)
    _renew_plans(connection, changes, holding, ids, now)


def _many(connection: Connection, statement: Any, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _add(connection: Connection, kind: Kind, changes: Changes, ids: Ids) -> None:
    """Insert new things, then learn their ids. Pointers to their own kind follow in `_set`."""
    shape = SHAPES[kind]
    rows = []
    for change in changes.of(kind, Action.ADDED):
        row: Row = {"slug": change.key.slug, **_columns(kind, change, ids)}
        if shape.within_site:
            row["site_id"] = ids[Kind.SITE][Key(None, change.key.site or "")]
        row.update({column: None for column, other in shape.points.items() if other is kind})
        rows.append(row)
    if not rows:
        return
    _many(connection, insert(shape.table), rows)
    sites = {number: key.slug for key, number in ids[Kind.SITE].items()}
    for found in connection.execute(select(shape.table)):
        site = sites[found.site_id] if shape.within_site else None
        ids[kind][Key(site, found.slug)] = found.id


def _columns(kind: Kind, change: Change, ids: Ids) -> Row:
    shape = SHAPES[kind]
    row: Row = {column: change.values[column] for column in shape.columns}
    for column, other in shape.points.items():
        key = change.values[column]
        row[column] = ids[other].get(key) if key is not None else None
    return row


def _set(connection: Connection, kind: Kind, changes: Changes, ids: Ids, now: Instant) -> None:
    """Give every changed thing its values, and retire what is no longer there."""
    shape = SHAPES[kind]
    retired = [
        {"key": ids[kind][change.key], "retired_at": now}
        for change in changes.of(kind, Action.RETIRED)
    ]
    alive = [
        {"key": ids[kind][change.key], "retired_at": None, **_columns(kind, change, ids)}
        for change in changes.of(kind, *_to_set(kind))
    ]
    statement = update(shape.table).where(shape.table.c.id == bindparam("key"))
    for rows in (retired, alive):
        _many(connection, statement, rows)


def _to_set(kind: Kind) -> tuple[Action, ...]:
    """A new thing is set as well where it may point at another new one of its kind."""
    own = kind in SHAPES[kind].points.values()
    return (Action.CHANGED, Action.RETURNED, *((Action.ADDED,) if own else ()))


def _hang(connection: Connection, changes: Changes, ids: Ids) -> None:
    """Hang each site that is new or changed on its grid nodes."""
    sites = list(changes.of(Kind.SITE, Action.ADDED, Action.CHANGED, Action.RETURNED))
    key = {change.key: ids[Kind.SITE][change.key] for change in sites}
    drop = delete(SITE_GRID).where(SITE_GRID.c.site_id == bindparam("site"))
    _many(connection, drop, [{"site": number} for number in key.values()])
    links = [
        {"site_id": key[change.key], "node_id": ids[Kind.GRID][node]}
        for change in sites
        for node in change.values["belongs_to"]
    ]
    _many(connection, insert(SITE_GRID), links)


def _move_devices(
    connection: Connection, changes: Changes, holding: Holding, ids: Ids, now: Instant
) -> None:
    """Date where each device belongs: a new one since ever, one that was moved since now.

    One that is retired belongs where it did: should it return there, it never was anywhere else.
    """
    moved = [
        change
        for change in changes.of(Kind.DEVICE, Action.ADDED, Action.CHANGED, Action.RETURNED)
        if change.action is Action.ADDED or _elsewhere(change, holding)
    ]
    end = (
        update(PLACE)
        .where(PLACE.c.device_id == bindparam("device"), PLACE.c.until.is_(None))
        .values(until=bindparam("now"))
    )
    _many(connection, end, [{"device": ids[Kind.DEVICE][c.key], "now": now} for c in moved])
    begun = [
        {
            "device_id": ids[Kind.DEVICE][change.key],
            "since": 0 if change.action is Action.ADDED else now,
            **{name: _pointed(change, name, ids) for name in BELONGS},
        }
        for change in moved
    ]
    _many(connection, insert(PLACE), begun)


BELONGS = ("site_id", "node_id")


def _elsewhere(change: Change, holding: Holding) -> bool:
    was = holding.things[Kind.DEVICE][change.key].values
    return any(was[name] != change.values[name] for name in BELONGS)


def _pointed(change: Change, column: str, ids: Ids) -> int | None:
    key = change.values[column]
    return None if key is None else ids[SHAPES[change.kind].points[column]][key]


def _move_tags(
    connection: Connection, changes: Changes, holding: Holding, ids: Ids, now: Instant
) -> None:
    """End what a moved tag stood for, and begin what it stands for; its first time: since ever."""
    end = (
        update(TAG)
        .where(TAG.c.uid == bindparam("tag"), TAG.c.until.is_(None))
        .values(until=bindparam("now"))
    )
    _many(
        connection, end, [{"tag": uid, "now": now} for uid in changes.tags if uid in holding.bound]
    )
    begun = []
    for uid, holder in changes.tags.items():
        if holder is not None:
            number = ids[holder.kind][holder.key]
            begun.append(
                {
                    "uid": uid,
                    "checkpoint_id": number if holder.kind is Kind.CHECKPOINT else None,
                    "person_id": number if holder.kind is Kind.PERSON else None,
                    "since": now if uid in holding.seen else 0,
                }
            )
    _many(connection, insert(TAG), begun)


def _renew_plans(
    connection: Connection, changes: Changes, holding: Holding, ids: Ids, now: Instant
) -> None:
    """Supersede the version in force of each plan that changes or ends, and write the next."""
    table = VERSION
    every = changes.of(Kind.PLAN, Action.CHANGED, Action.RETURNED, Action.RETIRED)
    end = (
        update(table)
        .where(table.c.plan_id == bindparam("plan"), table.c.superseded_at.is_(None))
        .values(superseded_at=bindparam("now"))
    )
    _many(connection, end, [{"plan": ids[Kind.PLAN][c.key], "now": now} for c in every])
    new = changes.of(Kind.PLAN, Action.ADDED, Action.CHANGED, Action.RETURNED)
    rows = [
        _version(ids[Kind.PLAN][c.key], holding.versions.get(c.key, 0) + 1, c.values, now)
        for c in new
    ]
    _many(connection, insert(table), rows)


def _version(plan: int, version: int, values: Mapping[str, Any], now: Instant) -> Row:
    return {
        "plan_id": plan,
        "version": version,
        "digest": Plan.from_json(values["terms"]).digest(),
        "terms": values["terms"],
        "applied_at": now,
    }
