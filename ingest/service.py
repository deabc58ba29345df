"""The composition root: joins the parts of one instance of the service, and runs them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import structlog

from devices import topics
from devices.ids import Instant
from devices.tagkeys import Keyring
from ingest import messages
from ingest.beginning import Begun
from ingest.beside import Beside
from ingest.claims import Standing
from ingest.clock import SystemClock, TickClock
from ingest.committed import Committed
from ingest.doubts import Doubts
from ingest.foreign import filters
from ingest.gauges import Gauges
from ingest.handouts import Handouts
from ingest.health import Health
from ingest.holding import Holding
from ingest.http import serving
from ingest.ledger import Ledger
from ingest.losses import Losses, Rivals
from ingest.markers import Markers
from ingest.outages import BrokerOutages, ClockSteps
from ingest.outbox import Outbox
from ingest.owing import Owing
from ingest.phones import Phones
from ingest.pipeline import Pipeline
from ingest.reader import Reader
from ingest.receipts import Receipts
from ingest.rechecks import Rechecks
from ingest.rollcall import RollCall
from ingest.room import Room
from ingest.source import MAIN, Source, sessions
from ingest.sources import source
from ingest.supervisor import Supervisor
from ingest.watch import Watch
from ingest.writer import Writer
from store import entries, workers
from store.arrivals import STEPPED_MS
from store.database import ledger_path
from store.events import outbox_depth
from store.handouts import SEEN_MS
from store.owngaps import Cause, OwnGap
from store.picture import Picture, load_picture, registry_version
from store.series.connect import series_writer
from store.series.feeder import Feeder
from store.series.ports import SeriesWriter
from store.settings import Settings

log = structlog.get_logger()

HOUSEKEEPING_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What meets the world, and how it is made; a test that kills the service, or sets its clock,
    wraps these."""

    clock: Callable[[], SystemClock] = SystemClock
    source: Callable[..., Source] = source
    writer: Callable[..., Writer] = Writer
    series: Callable[[Settings], SeriesWriter | None] = series_writer
    keyring: Keyring = field(default_factory=Keyring)  # read before anything connects


PARTS = Parts()


class Service:
    """One instance: every part, and the wires between them."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        begun: Begun,
        holding: Holding,
        parts: Parts = PARTS,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._begun = begun
        self._holding = holding
        self._clock = begun.clock
        self._ticks = isinstance(begun.clock, TickClock)
        self._health = Health()
        ledger.on_away = partial(self._health.because, "place")
        self._supervisor = Supervisor.of(os.environ)
        name = settings.instance
        self._source = parts.source(
            settings,
            sessions(name, window=settings.receive_maximum, expected=begun.marker is not None),
            on_change=self._on_connection,
            on_fresh=self._on_fresh_session,
        )
        marks = topics.CLOCK if self._ticks else topics.marker(name)
        self._reader = Reader(
            picture=begun.picture,
            marker=marks,
            after=begun.arrivals.after,
            radius_m=settings.place_radius_m,
            keyring=parts.keyring,
        )
        self._ask_for_readers()
        series = parts.series(settings)
        self._feeder = (
            None if series is None else Feeder(ledger.engine, series, now=self._clock.now)
        )
        self._poke_series, self._feeding_ends = asyncio.Event(), asyncio.Event()
        sampling = self._feeder is not None
        self._writer = parts.writer(
            ledger.engine,
            name,
            begun.judged,
            begun.arrivals,
            begun.first_tick,
            sampling=sampling,
        )
        self._receipts = Receipts(self._source, begun.clock, begun.ledger)
        self._losses = Losses(
            ledger, self._receipts, lambda: self._reader.picture, on_lost=self._on_lost
        )
        self._rivals = Rivals(name)
        self._outbox = Outbox(self._source, ledger, begun.clock.now)
        self._owing = Owing(
            ledger=ledger,
            instance=name,
            by_ticks=self._ticks,
            made_until=begun.made_until,
            first_tick=begun.first_tick,
        )
        self._markers = None
        if isinstance(begun.clock, SystemClock):
            self._markers = Markers(self._source, begun.clock, name)
        self._watch = Watch(
            ledger, begun.clock, begun.judged, on_next=self._on_next, on_told=self._outbox.poke
        )
        if begun.gap is not None:
            self._watch.make_up_for(begun.gap)
        self._doubts = Doubts(ledger, begun.clock, on_told=self._outbox.poke)
        self._doubts.poke()  # what an earlier run left
        self._handouts = Handouts(self._source, ledger, begun.clock)
        self._rollcall = RollCall(
            ledger,
            begun.clock,
            settings.limits,
            sampling=sampling,
            on_told=self._outbox.poke,
        )
        self._rechecks = Rechecks(
            ledger,
            begun.clock,
            begun.judged,
            self._reader,
            on_proved=self._on_proved,
        )
        self._rechecks.poke()  # with the keys of this start
        self._writer.books.marks.picture = begun.picture
        self._beside = Beside(
            self._reader, self._writer, ledger, begun.clock, self._health, self._on_committed
        )
        self._gauges = Gauges(ledger, begun.clock, name, self._health) if sampling else None
        self._pipeline = Pipeline(
            self._source,
            self._reader,
            self._writer,
            ledger,
            begun.clock,
            self._health,
            self._on_committed,
            batch=settings.batch_size,
        )
        self._outages = BrokerOutages(ledger, begun.clock.now())
        self._steps = ClockSteps(ledger, begun.clock, self._watch)
        self._room = Room(ledger_path(ledger.engine), settings, self._health)
        self._marked, self._ahead = asyncio.Event(), asyncio.Event()
        self._following = asyncio.Lock()
        self._reading = self._short = self._there = False
        self._ending = False
        self._known = begun.marker

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping`; then commit and acknowledge what was received, and hang up."""
        settings = self._settings
        await self._follow_registry(None if self._begun.registry_moved else self._begun.picture)
        async with AsyncExitStack() as stack:
            phones = Phones(admits=self._beside.admits, take=self._post)
            await stack.enter_async_context(
                serving(settings.http_address, self._health, self._behind, phones)
            )
            tasks = self._tasks()
            if self._known is not None:
                self._marked.set()
            self._supervisor.tell("READY=1")
            log.info("service.started", instance=settings.instance, clock=settings.clock.value)
            ended = asyncio.ensure_future(stopping.wait())
            await asyncio.wait((ended, *tasks), return_when=asyncio.FIRST_COMPLETED)
            self._supervisor.tell("STOPPING=1")
            await self._stop(tasks)
            ended.cancel()
            for task in tasks:
                if not task.cancelled() and task.exception() is not None:
                    raise RuntimeError(f"{task.get_name()} ended") from task.exception()
        log.info("service.stopped")

    def _tasks(self) -> list[asyncio.Task[None]]:
        parts: dict[str, Awaitable[None]] = {
            "pipeline": self._pipeline.run(self._refresh),
            "reading": self._read(),
            "watch": self._watch.run(),
            "outbox": self._outbox.run(),
            "doubts": self._doubts.run(),
            "rechecks": self._rechecks.run(),
            "rollcall": self._rollcall.run(),
            "handouts": self._handouts.run(),
            "owing": self._keep_owing(),
            "ahead": self._keep_ahead(),
            "outages": self._outages.run(),
            "losses": self._losses.run(),
            "housekeeping": self._keep_house(),
            "supervisor": self._supervisor.keep_told(self._health, marked=not self._ticks),
        }
        if self._markers is not None:
            parts["markers"] = self._markers.run()
        if self._gauges is not None:
            parts["gauges"] = self._gauges.run()
        if self._feeder is not None:
            parts["series"] = self._feeder.run(self._feeding_ends, self._poke_series)
        return [asyncio.create_task(part, name=name) for name, part in parts.items()]  # type: ignore[arg-type]

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self._ending = True
        self._pipeline.stop()
        by_name = {task.get_name(): task for task in tasks}
        await asyncio.wait((by_name.pop("pipeline"),))
        if self._feeder is not None:
            self._feeding_ends.set()
        for name, task in by_name.items():
            if name != "series":
                task.cancel()
        await asyncio.wait(tasks)
        if self._reading:
            await self._source.stop()
        if self._feeder is not None:
            await self._feeder.close()

    def _behind(self) -> int:
        return 0 if self._feeder is None else self._feeder.status.behind

    # Wires ------------------------------------------------------------------------------------

    def _on_committed(self, committed: Committed) -> None:
        self._receipts.tell(committed.receipts, committed.photos)
        if committed.told:
            self._outbox.poke()
        if self._markers is not None and (swallowed := self._markers.out.back(committed.markers)):
            self._losses.noticed(Cause.OVERFLOW, markers=swallowed)
        if committed.marker is not None:
            if self._known is not None and committed.marker < self._known - STEPPED_MS:
                self._watch.set_back(committed.marker)
            self._known = committed.marker
            self._losses.marked()
            self._owing.first_tick = committed.first_tick
            self._marked.set()
            self._doubts.poke()
            self._rollcall.advance(committed.marker)
        if committed.visits:
            self._handouts.visited(committed.visits)
        if committed.touched:
            self._watch.poke()
        self._poke_series.set()

    def _on_proved(self) -> None:
        """Reads prove now what they could not when they came in."""
        self._outbox.poke()
        self._watch.poke()
        self._doubts.poke()

    def _on_next(self, wake: Instant | None) -> None:
        if self._markers is not None:
            self._markers.plan(wake)

    def _on_connection(self, connected: bool) -> None:
        if self._ending or self._short:  # we hang up: that is no fault of the broker's
            return
        self._there = connected
        self._health.because("broker", None if connected else "not connected to the broker")
        log.info(
            "mqtt.connected" if connected else "mqtt.lost", broker=str(self._settings.mqtt_url)
        )
        if connected:
            self._watch.end_gap(self._clock.now())
            self._outbox.poke()
        else:
            self._rivals.lost(monotonic())
            if self._known is not None and not self._ticks:
                self._watch.make_up_for(OwnGap(since=self._known, cause=Cause.BROKER))
        self._outages.turned(self._clock.now(), there=connected)

    def _on_fresh_session(self, session: str) -> None:
        self._handouts.everybody(forget=True)
        if self._markers is not None and session == MAIN:
            self._markers.out.forget()  # they went with it
        self._losses.noticed(Cause.SESSION, session=session)

    def _on_lost(self, loss: Cause) -> None:
        self._health.lost(loss)
        if not self._ticks:
            since = self._clock.now() if self._known is None else self._known
            self._watch.make_up_for(OwnGap(since=since, cause=loss))
            self._watch.end_gap(self._clock.now())

    # Tasks ------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read from the broker once nobody else does, into a ledger that is what its name says."""
        await self._holding.until(Standing.HELD)
        await self._check_ledger()
        await self._check_room()  # before anything is read, not a second after
        await self._source.start()
        self._reading = True
        if self._short:
            await self._source.pause()
        await asyncio.Event().wait()  # no part of the service ends by itself

    async def _check_ledger(self) -> None:
        """A ledger that had come further before is a copy: as another one it claims nothing."""
        kept = await self._ledger.read(entries.last_id)
        self._holding.reached = kept
        if kept >= self._holding.witnessed:
            return
        name = await self._ledger.write(workers.rename_ledger)
        self._receipts.ledger = name
        self._holding.rename(name)
        before = self._holding.witnessed
        self._losses.noticed(Cause.RESTORED, entries=kept, before=before, ledger=name)

    async def _keep_owing(self) -> None:
        """Make what is owed before anything is judged by the marker that made it due."""
        while True:
            await self._marked.wait()
            self._marked.clear()
            known = self._known
            if known is None:
                continue
            made = self._owing.made_until
            if made is None or made < known + SEEN_MS:
                if made is None and self._ticks:
                    await self._follow_registry(None)
                await self._owing.make(known)
                self._handouts.everybody()
            self._ahead.set()
            self._watch.advance(known)
            self._handouts.advance(known)

    async def _keep_ahead(self) -> None:
        """Make what will be owed, beside the judging of what is."""
        while True:
            await self._ahead.wait()
            self._ahead.clear()
            if self._known is not None:
                await self._owing.make(self._known)

    async def _keep_house(self) -> None:
        """Each second: the registry, the disk, the figures of `/metrics`, the minute."""
        while True:
            self._health.because("claim", self._holding.why)
            await self._refresh()
            await self._check_room()
            await self._steps.look()
            if await self._beside.retake():
                self._doubts.poke()
            await messages.tell(self._source, self._ledger, self._clock.now)
            self._health.outbox = await self._ledger.read(outbox_depth)
            if self._health.outbox > 0:  # another process may have written events, as `event ack`
                self._outbox.poke()
            self._holding.reached = await self._ledger.read(entries.last_id)
            if self._known is not None:
                self._health.lag_ms = max(self._clock.now() - self._known, 0)
            if self._gauges is not None:
                self._gauges.ticked()
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _post(self, topic: str, payloads: Sequence[bytes]) -> bool:
        """Commit what a phone posted; False where it cannot be kept now."""
        if self._short or self._ending:
            return False
        return await self._beside.post(topic, payloads)

    async def _check_room(self) -> None:
        """Where the ledger has too little room we hang up, and come back when there is enough."""
        short = await asyncio.to_thread(self._room.short)
        if short is self._short:
            if self._there and not self._source.connected:  # it went while we had hung up
                self._on_connection(False)
            return
        self._short = short
        self._watch.hold_back(hung_up=short)
        if short and (self._there or not self._reading):
            self._outages.turned(self._clock.now(), there=True)  # it is we who hang up
        if self._reading:
            await (self._source.pause() if short else self._source.resume())

    async def _refresh(self) -> None:
        """Follow the registry, if it has another version."""
        version = await self._ledger.read(registry_version)
        if version == self._reader.picture.version:
            return
        async with self._following:
            before = self._reader.picture
            if version <= before.version:
                return
            self._reader.picture = await self._ledger.read(load_picture)
            self._writer.books.marks.picture = self._reader.picture
            self._ask_for_readers()
            self._rollcall.everybody()
            self._rechecks.poke()
            log.info("registry.followed", version=self._reader.picture.version)
            await self._follow_registry(before)
            self._handouts.everybody()

    def _ask_for_readers(self) -> None:
        """Read the topics of the foreign readers that the registry names, in the session of the
        markers: their order tells when each message came in."""
        wanted, gone = filters(self._reader.picture)
        self._source.subscribe(MAIN, wanted, gone=gone)

    async def _follow_registry(self, before: Picture | None) -> None:
        if self._ticks and self._known is None:
            return
        now = self._known if self._ticks and self._known is not None else self._clock.now()
        await self._owing.follow(before, self._reader.picture, now)
