"""The service's own parts over a real SQLite ledger, without a broker: a tick clock is the time.

The parts are joined as `ingest.service` joins them, and a start is its own; what runs there as
tasks is here done in turn, so that a run is the same each time.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from tests.laws.copies import Modules
from tests.laws.systems import Outcome
from tests.laws.world import BERLIN, HEARTBEATS, SITE, TAGS, Planned, Said, Tick

CLOCK = "patrol/v1/sim/clock"
LONG_AGO = 1_700_000_000_000


def fast_folder() -> tempfile.TemporaryDirectory[str]:
    """In memory where the system has such a place: a crash of the machine is not what we test."""
    shm = Path("/dev/shm")  # noqa: S108  (a folder of our own is made in it)
    return tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None)


def document(plans: Planned) -> bytes:
    """The registry file that says so."""
    said = [
        {
            "id": plan["id"],
            "name": plan["id"],
            "route": list(plan["route"]),
            "windows": list(plan["windows"]),
            "grace": f"{plan['grace']}m",
            **({"early": f"{plan['early']}m"} if plan.get("early") else {}),
            **({"every": f"{plan['every']}m"} if "every" in plan else {}),
        }
        for plan in plans.plans
    ]
    devices = [
        {"id": slug} | ({} if beat is None else {"heartbeat": f"{beat // 1_000}s"})
        for slug, beat in HEARTBEATS.items()
    ]
    points = [{"id": slug, "name": slug, "tags": [tag]} for slug, tag in TAGS.items()]
    site = {"id": SITE, "name": "School", "timezone": BERLIN, "checkpoints": points}
    whole = {"calendar": "every-day", "sites": [{**site, "devices": devices, "plans": said}]}
    return json.dumps(whole).encode()


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what waits for nobody, since there is one thread and one caller."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    work.close()
    raise RuntimeError("it waits for somebody")


class Direct:
    """The ledger's port, in the thread that calls."""

    def __init__(self, engine: Any, database: Any) -> None:
        self.engine = engine
        self._database = database

    async def write(self, work: Callable[[Any], Any]) -> Any:
        with self._database.writing(self.engine) as connection:
            return work(connection)

    async def read(self, work: Callable[[Any], Any]) -> Any:
        with self._database.reading(self.engine) as connection:
            return work(connection)

    def verdicts_wait(self, more: bool) -> None:
        """Nobody else is there who could wait for them."""


class Service:
    """One instance."""

    def __init__(self, modules: Modules, folder: Path, read: dict[bytes, Any]) -> None:
        """`read`: registry files that were read already, shared by systems of the same modules."""
        self._modules = modules
        self._read = read
        template = folder / "template.db"
        if not template.exists():
            modules["store.database"].upgrade(f"sqlite:///{template}", now=LONG_AGO)
        for leftover in folder.glob("ledger.db*"):
            leftover.unlink()
        path = Path(shutil.copy(template, folder / "ledger.db"))
        url = f"sqlite:///{path}"
        settings = modules["store.settings"].Settings
        self._settings = settings(database_url=url, clock="mqtt", instance="laws")
        self._engine = modules["store.database"].open_engine(url)
        self._ledger = Direct(self._engine, modules["store.database"])
        self._applied = LONG_AGO
        self._failing = False
        event.listen(self._engine, "commit", self._commits)
        self.restart()

    def restart(self) -> None:
        m = self._modules
        begun = done(m["ingest.beginning"].begin(self._settings, self._ledger))
        self._clock, self._judged, self._known = begun.clock, begun.judged, begun.marker
        self._reader = m["ingest.reader"].Reader(picture=begun.picture, marker=CLOCK)
        self._writer = m["ingest.writer"].Writer(
            self._engine, "laws", begun.judged, begun.arrivals, begun.first_tick, sampling=False
        )
        self._writer.books.marks.picture = begun.picture
        self._owing = m["ingest.owing"].Owing(
            ledger=self._ledger,
            instance="laws",
            by_ticks=True,
            made_until=begun.made_until,
            first_tick=begun.first_tick,
        )
        self._watch = m["ingest.watch"].Watch(
            self._ledger, begun.clock, begun.judged, on_next=_heard, on_told=_poked
        )
        self._doubts = m["ingest.doubts"].Doubts(self._ledger, begun.clock, _poked)
        if self._known is not None:
            done(self._owing.follow(None, begun.picture, self._known))

    def follow(self, plans: Planned) -> None:
        m = self._modules
        self._applied += 1_000
        registry = m["store.registry"]
        registry.apply(
            self._engine,
            self._document(document(plans)),
            now=self._applied,
            author="test",
            source="test.yaml",
            dry_run=False,
        )
        before = self._reader.picture
        picture = done(self._ledger.read(m["store.picture"].load_picture))
        self._reader.picture = self._writer.books.marks.picture = picture
        if self._known is not None:
            done(self._owing.follow(before, picture, self._known))

    def _document(self, said: bytes) -> Any:
        """Reading YAML takes longer than all the rest of a run."""
        if said not in self._read:
            self._read[said] = self._modules["store.registry"].read_document(said)
        return self._read[said]

    def take(self, batch: list[Tick | Said]) -> None:
        committed = self._commit(batch)
        if committed.marker is not None:
            self._known = committed.marker
            self._owing.first_tick = committed.first_tick
            if self._owing.made_until is None:
                done(self._owing.follow(None, self._reader.picture, self._known))
            done(self._owing.make(self._known))
        if self._known is not None:
            done(self._watch._judge(self._known, waited=False))
            while done(self._doubts.page()):
                pass

    def fail(self, batch: list[Tick | Said]) -> None:
        tick = self._clock.tick
        self._failing = True
        try:
            self._commit(batch)
        except OperationalError:
            self._clock.tick = tick  # the batch is read again, its ticks in their places
        else:
            raise AssertionError("the commit did not fail")
        finally:
            self._failing = False

    def _commit(self, batch: list[Tick | Said]) -> Any:
        """As the pipeline does: a tick is now for what follows it."""
        items = []
        for said in batch:
            for item in self._reader.read(self._delivery(said), self._clock.now()):
                items.append(item)
                if isinstance(item, self._modules["ingest.reader"].Marked):
                    self._clock.advance(item.at)
        return self._writer.commit(items, self._clock.now())

    def _delivery(self, said: Tick | Said) -> Any:
        match said:
            case Tick(at):
                topic, body = CLOCK, {"now": at}
            case Said(device, kind, body):
                topic = f"patrol/v1/{SITE}/{device}/up/{kind}"
        payload = json.dumps(body).encode()
        return self._modules["ingest.reader"].Delivery("main", topic, payload, False, (1, 1))

    def _commits(self, connection: Any) -> None:
        del connection
        if self._failing:
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def outcome(self) -> Outcome:
        found = Outcome()
        for key, said, at in self.rows(
            "SELECT o.key, v.document, v.judged_at FROM verdict v"
            " JOIN obligation o ON o.id = v.obligation_id ORDER BY v.revision"
        ):
            found.verdicts.setdefault(key, []).append((json.loads(said), at))
        found.events = [
            (*row[:-1], json.loads(row[-1]))
            for row in self.rows(
                "SELECT kind, subject, revision, state, at, raised_at, data FROM event ORDER BY id"
            )
        ]
        name = "d.slug || '/' || e.epoch || '/' || e.seq"
        found.entries = {
            row[0]: row[1:]
            for row in self.rows(
                f"SELECT {name}, e.at, e.sent, e.received_at FROM entry e"  # noqa: S608
                " JOIN device d ON d.id = e.device_id"
            )
        }
        found.third = {
            row[0]: row[1:]
            for row in self.rows(
                f"SELECT {name}, c.at, c.how FROM correction c"  # noqa: S608
                " JOIN entry e ON e.id = c.entry_id JOIN device d ON d.id = e.device_id"
            )
        }
        return found

    def covered(self, device: str) -> tuple[int, list[tuple[int, int]]] | None:
        with self._engine.connect() as connection:
            upto, missing = self._writer.books.coverage.view(connection, (device, 0))
        return None if upto == -1 else (upto, [tuple(each) for each in missing])

    def kept_aside(self) -> int:
        query = "SELECT count(*) FROM quarantine WHERE reason = 'identity-conflict'"
        return int(self.rows(query)[0][0])

    def close(self) -> None:
        self._engine.dispose()


def _heard(_: int | None) -> None:
    """When the next is due; the machine ticks when it likes."""


def _poked() -> None:
    """Events wait; nobody tells them on."""
