"""A school for tests of the service: two checkpoints, two handhelds, and rounds of a few
seconds."""

import json
from typing import Any

from sqlalchemy import Engine, text

from devices.ids import Instant
from rules.plans import Plan
from rules.promises import Gap, Obligation, gap_key, round_key
from store import obligations
from store.database import writing

SITE = "school-01"
GATE, LAB = "04A2B3C4D5E680", "04A2B3C4D5E681"
BADGE = "04AAAA01"

DOCUMENT: dict[str, Any] = {
    "calendar": "every-day",
    "grids": [{"id": "bureau", "name": "Bureau", "tree": "sector", "level": 1}],
    "people": [{"id": "p-017", "name": "Guard", "roles": ["guard"], "tags": [BADGE]}],
    "devices": [{"id": "insp-01", "grid": "bureau"}],
    "sites": [
        {
            "id": SITE,
            "name": "School",
            "timezone": "Etc/UTC",
            "belongs_to": ["bureau"],
            "checkpoints": [
                {"id": "gate", "name": "Gate", "tags": [GATE]},
                {"id": "lab", "name": "Lab", "tags": [LAB]},
            ],
            "devices": [{"id": "hh-1"}, {"id": "hh-2"}],
            "plans": [
                {"id": "day", "name": "Day", "route": ["gate", "lab"], "windows": ["00:00-00:01"]},
                {
                    "id": "gap",
                    "name": "Gap",
                    "route": ["lab"],
                    "windows": ["00:00-23:00"],
                    "every": "10m",
                    "grace": "2m",
                },
            ],
        },
        {
            "id": "school-02",
            "name": "Other",
            "timezone": "Etc/UTC",
            "checkpoints": [{"id": "hall", "name": "Hall", "tags": ["04B2B3C4"]}],
            "devices": [{"id": "hh-9"}],
        },
    ],
}
REGISTRY = json.dumps(DOCUMENT).encode()


def up(kind: str, device: str = "hh-1", site: str = SITE) -> str:
    """Where a device says things of that kind."""
    return f"patrol/v1/{site}/{device}/up/{kind}"


def checkin(seq: int, at: Instant, tag: str = GATE, **more: Any) -> dict[str, Any]:
    """A check-in sent at once, by a clock that is right."""
    return {"seq": seq, "at": at, "sent": at, "tag": tag, **more}


def birth(oldest: int, **more: Any) -> dict[str, Any]:
    """A device is there, and stores nothing below `oldest`."""
    return {"online": True, "oldest": oldest, **more}


def owe(engine: Engine, opens: Instant, closes: Instant, plan: str = "day", grace: int = 0) -> str:
    """What the plan owes in a window that no file could say: the contract's are whole minutes."""
    with writing(engine) as connection:
        obligations.take_up(connection, None)
        asked = text(
            "SELECT v.id, v.plan_id, p.site_id, v.terms FROM plan_version v"
            " JOIN plan p ON p.id = v.plan_id WHERE p.slug = :plan AND v.ended_at IS NULL"
        )
        row = connection.execute(asked, {"plan": plan}).one()
        version = next(
            v for v in obligations.in_force(connection, opens, [row.plan_id]) if v.id == row.id
        )
        terms = Plan.from_json(json.loads(row.terms)).terms()[0]
        spot = terms.checkpoint if isinstance(terms, Gap) else None
        key = gap_key(SITE, plan, opens, spot) if spot else round_key(SITE, plan, opens)
        promise = Obligation(
            key=key,
            site=SITE,
            plan=plan,
            terms=terms,
            opens=opens,
            closes=closes,
            due=closes + grace,
            early=0,
        )
        obligations.write(connection, version, [promise])
        return promise.key
