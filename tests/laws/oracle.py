"""What must hold, by a naive reading of contract §6 and of the decisions that refine it.

Shares no code with the service: loops over minutes and records, wall clocks by asking `zoneinfo`
for the wall time of every minute of the night. Slow, and meant to be read beside the contract.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.laws.world import BERLIN, HEARTBEATS, HOUR, MINUTE, SITE, TAGS, Item, Planned, Said, Tick

PLACES = {tag: name for name, tag in TAGS.items()}

# What was said, and between which ticks -----------------------------------------------------------


@dataclass
class Record:
    """A record by its first copy: it arrived in [after, before]; `before` None: not yet known."""

    device: str
    said: dict[str, Any]
    after: int
    before: int | None = None

    @property
    def identity(self) -> str:
        return f"{self.device}/0/{self.said['seq']}"

    @property
    def sent(self) -> int | None:
        return self.said.get("sent")


@dataclass
class Tale:
    """The log, read once from its beginning to its end."""

    now: int | None = None
    began: int | None = None
    records: dict[str, Record] = field(default_factory=dict)
    conflicts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    statuses: list[Record] = field(default_factory=list)
    words: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)
    heard: dict[str, list[int]] = field(default_factory=dict)
    plans: list[tuple[int, tuple[dict[str, Any], ...]]] = field(default_factory=list)


def content(said: dict[str, Any]) -> dict[str, Any]:
    """What makes two copies one message: everything apart from `sent` and `sent_up` (§2)."""
    return {name: value for name, value in said.items() if name not in ("sent", "sent_up")}


def read(log: Iterable[Item]) -> Tale:
    """Read a log. A tick that is not later than the last one tells nothing new."""
    tale = Tale()
    boots: dict[str, str] = {}
    for item in log:
        match item:
            case Planned(plans):
                if tale.now is None:
                    tale.plans = []
                tale.plans.append((tale.now or 0, plans))
            case Tick(at) if tale.now is None or at > tale.now:
                if tale.began is None:
                    tale.began = at
                    tale.plans = [(at, plans) for _, plans in tale.plans]
                for record in [*tale.records.values(), *tale.statuses]:
                    if record.before is None:
                        record.before = at
                tale.now = at
            case Said(device, "checkin", body):
                for said in body if isinstance(body, list) else [body]:
                    _take(tale, Record(device, said, tale.now or 0))
            case Said(device, "status", body):
                _hear(tale, boots, Record(device, body, tale.now or 0))
    return tale


def _take(tale: Tale, record: Record) -> None:
    """Once: the first copy counts (§2, laws 2 and 3). Its device is there."""
    known = tale.records.get(record.identity)
    if known is None:
        tale.records[record.identity] = record
        tale.heard.setdefault(record.device, []).append(record.after)
        tale.words.setdefault(record.device, []).append((record.after, True))
    elif content(known.said) != content(record.said):
        other = (record.identity, content(record.said))
        if other not in tale.conflicts:
            tale.conflicts.append(other)


def _hear(tale: Tale, boots: dict[str, str], status: Record) -> None:
    """A will with an older boot than the birth is ignored (§2)."""
    online, boot = status.said["online"], status.said["boot"]
    words = tale.words.setdefault(status.device, [])
    if not online and words and words[-1][1] and boots.get(status.device, boot) != boot:
        return
    boots[status.device] = boot
    words.append((status.after, online))
    if online:
        tale.heard.setdefault(status.device, []).append(status.after)
        tale.statuses.append(status)


# Clocks (§6, "When did it arrive?"; decision 9) ---------------------------------------------------

JITTER = 2_000
SAME_LAG = 60_000
RECENT = 600_000
LIVE = 60_000
APART = 30_000
NEVER_SET = 1_577_836_800_000
"""2020-01-01: no delay explains a clock that tells less."""


class Timed(NamedTuple):
    """When a record happened, as it holds, and how that was found."""

    at: int
    how: str


def timed(tale: Tale, record: Record) -> Timed:
    """The third value of law 7."""
    told, sent = record.said["at"], record.sent
    if sent is None:
        return Timed(told, "unproven")
    if record.before is not None and sent > record.before:
        how, sending = "ahead", record.before
    elif sent >= record.after - JITTER:
        how, sending = "trusted", sent
    elif sent < NEVER_SET or is_slow(tale, record):
        how, sending = "slow", record.after
    else:
        return Timed(told, "unproven")
    at = told + sending - sent
    if "sent_up" in record.said and "up" in record.said:
        by_age = sending - (record.said["sent_up"] - record.said["up"])
        if how != "trusted" and not is_live(record):
            return Timed(by_age, how)
        if how != "trusted" or abs(by_age - at) > JITTER:
            return Timed(by_age, "uptime")
    return Timed(at, how)


def is_live(record: Record) -> bool:
    return record.before is not None and record.before - record.after <= LIVE


def is_slow(tale: Tale, record: Record) -> bool:
    """All live messages of ten minutes show the same lag, three of them, not all at once."""
    live = [
        other
        for other in [*tale.records.values(), *tale.statuses]
        if other.device == record.device
        and other.sent is not None
        and is_live(other)
        and record.after - RECENT <= other.after <= record.after
    ]
    if len(live) < 3:
        return False
    lags = [other.after - other.sent for other in live if other.sent is not None]
    middle = (max(lags) + min(lags)) / 2
    spread = max(other.after for other in live) - min(other.after for other in live)
    alike = all(abs(lag - middle) <= SAME_LAG for lag in lags)
    return spread >= APART and min(lags) > 0 and alike


# What was owed (§6, first two paragraphs, and DST) ------------------------------------------------


@dataclass(frozen=True)
class Owed:
    """A round, or the gap of one window; spans and instants in ms."""

    key: str
    plan: str
    route: tuple[str, ...]
    opens: int
    closes: int
    due: int
    early: int
    every: int | None
    grace: int


@lru_cache
def walls(zone: str, first: date) -> dict[str, list[int]]:
    """By what a clock on the wall shows: the minutes around `first` that show it, in order."""
    tz = ZoneInfo(zone)
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) * 1_000
    found: dict[str, list[int]] = {}
    for at in range(start - 48 * HOUR, start + 120 * HOUR, MINUTE):
        wall = datetime.fromtimestamp(at // 1_000, UTC).astimezone(tz).strftime("%Y-%m-%d %H:%M")
        found.setdefault(wall, []).append(at)
    return found


def occurs(zone: str, first: date, wall: str) -> tuple[int, int]:
    """The first and the last instant that show `wall`; the one after the jump if none does."""
    shown = walls(zone, first).get(wall)
    if shown is None:
        shown = next(minutes for text, minutes in walls(zone, first).items() if text > wall)
    return shown[0], shown[-1]


@lru_cache
def windows(zone: str, first: date, text: str) -> tuple[tuple[int, int], ...]:
    """[opens, closes) of a window on the days around `first`."""
    return tuple(_windows(zone, first, text))


def _windows(zone: str, first: date, text: str) -> Iterator[tuple[int, int]]:
    opens, _, closes = text.partition("-")
    for ahead in range(-1, 4):
        day = first + timedelta(days=ahead)
        end = day + timedelta(days=1) if closes <= opens else day
        span = occurs(zone, first, f"{day} {opens}")[0], occurs(zone, first, f"{end} {closes}")[1]
        if span[1] > span[0]:
            yield span


def utc(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def owed(tale: Tale, until: int | None = None) -> list[Owed]:
    """What opens after its plans were in force, by the plans of then; none twice."""
    last = tale.now if until is None else until
    if tale.began is None or last is None:
        return []
    day = datetime.fromtimestamp(tale.began // 1_000, ZoneInfo(BERLIN)).date()
    ends = [since for since, _ in tale.plans[1:]] + [last]
    found: list[Owed] = []
    for (since, plans), end in zip(tale.plans, ends, strict=True):
        for plan in plans:
            spans: dict[int, int] = {}
            for text in plan["windows"]:
                for opens, closes in windows(BERLIN, day, text):
                    if since < opens <= min(end, last):
                        # where a jump puts two on one instant, nobody is late for the shorter one
                        spans[opens] = max(closes, spans.get(opens, 0))
            found += [_owed(plan, opens, closes) for opens, closes in spans.items()]
    return found


def _owed(plan: dict[str, Any], opens: int, closes: int) -> Owed:
    every, grace = plan.get("every"), plan["grace"] * MINUTE
    key = f"{SITE}/{plan['id']}/{utc(opens)}"
    return Owed(
        key=key if every is None else f"{key}/{plan['route'][0]}",
        plan=plan["id"],
        route=plan["route"],
        opens=opens,
        closes=closes,
        due=closes + grace,
        early=plan.get("early", 0) * MINUTE,
        every=None if every is None else every * MINUTE,
        grace=grace,
    )


# Verdicts (§6, "Judged at due", "Unreachable") ----------------------------------------------------


@dataclass
class Expected:
    """How one obligation must stand; `stretches`: [since, breached, ended] of a gap."""

    owed: Owed
    standing: str
    first: str
    evidence: dict[str, str]
    late: set[str]
    missing: set[str]
    waiting: set[str]
    stretches: list[tuple[int, int, int | None]]


def serving(at: int, rounds: list[Owed]) -> str | None:
    """On time, else late, else early; the one that opens first among equals."""
    wanted = (
        lambda r: r.opens <= at < r.closes,
        lambda r: r.closes <= at < r.due,
        lambda r: r.opens - r.early <= at < r.opens,
    )
    for fits in wanted:
        fitting = sorted((r.opens, r.key) for r in rounds if fits(r))
        if fitting:
            return fitting[0][1]
    return None


def reachable(tale: Tale, since: int, until: int) -> bool:
    """Whether some device could have told at some instant of [since, until)."""
    return any(_reachable(tale, device, since, until) for device in HEARTBEATS)


def _reachable(tale: Tale, device: str, since: int, until: int) -> bool:
    words, heard, beat = tale.words.get(device, []), tale.heard.get(device, []), HEARTBEATS[device]
    turns = {since, *(at for at, _ in words), *heard}
    for instant in sorted(turn for turn in turns if since <= turn < until):
        online = [on for at, on in words if at <= instant][-1:]
        silent = beat is not None and not any(at <= instant < at + 2.5 * beat for at in heard)
        if online == [True] and not silent:
            return True
    return False


def cut_off(tale: Tale, device: str, at: int, due: int) -> bool:
    """Nothing arrived from it in [at, due). Heard twice within a minute, it was there between."""
    heard = sorted(tale.heard.get(device, []))
    if any(at <= contact < due for contact in heard):
        return False
    return not any(a < at and due <= b and b - a <= MINUTE for a, b in pairwise(heard))


def judged(tale: Tale) -> dict[str, Expected]:
    """Everything that has come due."""
    if tale.now is None:
        return {}
    now = tale.now
    rounds = owed(tale)
    times = {name: timed(tale, record) for name, record in tale.records.items()}
    return {one.key: _judge(tale, one, rounds, times) for one in rounds if one.due <= now}


def _judge(tale: Tale, one: Owed, rounds: list[Owed], times: dict[str, Timed]) -> Expected:
    rivals = [other for other in rounds if other.plan == one.plan and other.every is None]
    in_time, counting, waiting = [], [], []
    for name, record in tale.records.items():
        place, (at, how) = PLACES.get(record.said["tag"]), times[name]
        bears = serving(at, rivals) == one.key if one.every is None else one.opens <= at
        if place not in one.route or not bears:
            continue
        row = (at, name, str(place))
        if record.after < one.due:
            in_time.append(row)
        elif one.every is not None and at >= one.due:
            pass  # it only ends an open stretch
        elif how in ("trusted", "uptime") and cut_off(tale, record.device, at, one.due):
            pass
        else:
            waiting.append(row)
            continue
        counting.append(row)
    up = reachable(tale, one.opens, one.due)
    standing, stretches = _stands(one, counting, up, tale.now or 0)
    within = [row for row in counting if row[0] < one.due]
    evidence = {place: name for _, name, place in sorted(within, reverse=True)}
    whole = one.every is not None
    return Expected(
        owed=one,
        standing=standing,
        first=_stands(one, in_time, up, tale.now or 0)[0],
        evidence=evidence,
        late={
            place for place in evidence if min(r[0] for r in within if r[2] == place) >= one.closes
        },
        missing=set(one.route) - set(evidence),
        waiting=set()
        if standing == "completed"
        else {name for _, name, place in waiting if whole or place not in evidence},
        stretches=stretches,
    )


def _stands(
    one: Owed, rows: list[tuple[int, str, str]], up: bool, now: int
) -> tuple[str, list[tuple[int, int, int | None]]]:
    done = {place for at, _, place in rows if at < one.due}
    stretches = [] if one.every is None else _stretches(one, sorted(row[0] for row in rows), now)
    kept = not stretches if one.every is not None else done == set(one.route)
    standing = "completed" if kept else "incomplete" if done else "missed" if up else "unknown"
    return standing, [] if standing == "unknown" else stretches


def _stretches(one: Owed, visits: list[int], now: int) -> list[tuple[int, int, int | None]]:
    """The clock starts at opens, each visit restarts it; breached at last + every, raised after
    grace, only inside the window; one event a stretch."""
    found, last, every = [], one.opens, one.every or 0
    while last + every < one.closes and last + every + one.grace <= now:
        following = [visit for visit in visits if last < visit <= now]
        visit = following[0] if following else None
        if visit is None or visit >= last + every + one.grace:
            found.append((last, last + every, visit))
        if visit is None:
            break
        last = visit
    return found


# What receipts may claim (§3) ---------------------------------------------------------------------


def covered(tale: Tale, device: str) -> tuple[int, list[tuple[int, int]]] | None:
    """`upto` and `missing`; None where nothing was ever heard.

    Counting starts at the `oldest` that a status says: what is below it is lost or never was. Until
    one does, everything below the first `seq` seen may still come (decision 6).
    """
    kept = {r.said["seq"] for r in tale.records.values() if r.device == device}
    oldest = [s.said["oldest"] for s in tale.statuses if s.device == device]
    if not kept and not oldest:
        return None
    start = max(oldest, default=0)
    upto = max([*kept, start - 1])
    missing: list[tuple[int, int]] = []
    for seq in range(start, upto + 1):
        if seq in kept:
            continue
        if missing and missing[-1][1] == seq - 1:
            missing[-1] = (missing[-1][0], seq)
        else:
            missing.append((seq, seq))
    return upto, missing
