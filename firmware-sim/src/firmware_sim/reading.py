"""Reads scenarios from TOML and checks them whole, naming the place and the remedy.

A scenario is `NAME.toml` in the package or any file; beside it lies the registry it names.
Times in it are the schools' wall time; an outage takes effect half a second after the instant
written, so that it never falls on the very instant of a read.
"""

import datetime as dt
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from firmware_sim.clocks import DAY, Setting
from firmware_sim.garbage import GARBAGE
from firmware_sim.plans import PlanError, read_registry, span_ms
from firmware_sim.scenario import (
    OUTAGE_OFFSET,
    ClockSet,
    Duty,
    HazardCase,
    HazardStep,
    Make,
    Manners,
    Outage,
    Outages,
    Read,
    Rubbish,
    Scenario,
    ScenarioError,
    Skip,
    Sos,
    Upset,
)

HAZARD_STEPS = ("accept", "progress", "resolved", "verified", "rejected")


def built_in() -> dict[str, Path]:
    """The scenarios that come with the package, by name."""
    folder = Path(str(resources.files("firmware_sim") / "scenarios"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name: str, *, shift_days: int = 0) -> Scenario:
    """Read a built-in scenario by name or a file by path; raises `ScenarioError`."""
    known = built_in()
    path = known.get(name) or Path(name)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        names = ", ".join(known)
        raise ScenarioError(f"{name}: no such scenario or file; built in are {names}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ScenarioError(f"{path}: cannot be read as TOML: {error}") from error
    return parse(raw, path.parent, path.stem, shift_days=shift_days)


def parse(raw: Mapping[str, Any], folder: Path, name: str, *, shift_days: int = 0) -> Scenario:
    """Turn the TOML into a checked scenario, `shift_days` later than written."""
    return _Reader(raw, folder, name, shift_days).scenario()


T = TypeVar("T")


class _Table:
    """One table of the file: members are taken out by name, and nothing may be left over."""

    def __init__(self, raw: object, where: str):
        if not isinstance(raw, Mapping):
            raise ScenarioError(f"{where}: a table was expected, not {raw!r:.40}")
        self._left = dict(raw)
        self.where = where

    def take(self, member: str, read: Callable[[object, str], T], default: Any = MISSING) -> T:
        """The member, read; its default where it is not there."""
        if member not in self._left:
            if default is MISSING:
                raise ScenarioError(f"{self.where}: `{member}` is missing")
            return default  # type: ignore[no-any-return]  # a default has its member's type
        return read(self._left.pop(member), f"{self.where}.{member}")

    def maybe(self, member: str, read: Callable[[object, str], T]) -> T | None:
        """The member, read, where it is there."""
        return self.take(member, read) if member in self._left else None

    def done(self) -> None:
        """Refuse members nobody asked for."""
        if self._left:
            names = ", ".join(f"`{name}`" for name in self._left)
            raise ScenarioError(f"{self.where}: unknown {names}; see the built-in scenarios")


class _Reader:
    """Reads one file; knows the zone and the registry that the parts refer to."""

    def __init__(self, raw: Mapping[str, Any], folder: Path, name: str, shift_days: int):
        self.name = name
        self.shift = dt.timedelta(days=shift_days)
        self.top = _Table(raw, name)
        self.zone = self.top.take("timezone", self._zone, ZoneInfo("Asia/Shanghai"))
        self.registry_text = self._registry_text(folder)
        try:
            self.registry = read_registry(self.registry_text)
        except (PlanError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise ScenarioError(f"{name}.registry: cannot be read: {error}") from error
        own = tuple(d for site in self.registry.sites.values() for d in site.devices)
        self.devices = own
        named = self.top.take("devices", _texts, own)
        self.devices = tuple(self.device(device, f"{name}.devices") for device in named)
        self._strangers: dict[str, None] = {}
        self.starts = self.top.take("starts", self.instant)

    def scenario(self) -> Scenario:
        top = self.top
        made = Scenario(
            name=self.name,
            title=top.take("title", _text, self.name),
            starts=self.starts,
            ends=top.take("ends", self.instant),
            zone=self.zone,
            seed=top.take("seed", _whole, 1),
            batch=top.take("batch", _whole, 1),
            registry_text=self.registry_text,
            registry=self.registry,
            devices=self.devices,
            manners=_manners(_Table(top.take("guards", _any, {}), f"{self.name}.guards")),
            outages=self._each("offline", self._outage),
            random_outages=self._each("offline_at_random", self._outages),
            sos=self._each("sos", self._sos),
            hazards=self._each("hazard", self._hazard),
            reads=self._each("read", self._read),
            skips=self._each("skip", self._skip),
            duties=self._each("duty", self._duty),
            upsets=self._each("reboot", self._reboot) + self._each("reset", self._reset),
            clocks=self._each("clock", self._clock),
            makes=self._each("handheld", self._make),
            rubbish=self._each("garbage", self._garbage),
            strangers=tuple(self._strangers),
            marker=top.maybe("marker", span_of),
            tag_master=top.maybe("tag_master", _key),
            shift=round(self.shift.total_seconds() * 1000),
        )
        top.done()
        if made.ends <= made.starts:
            raise ScenarioError(f"{self.name}: `ends` has to come after `starts`")
        return made

    # Members

    def instant(self, value: object, where: str) -> int:
        if not isinstance(value, dt.datetime):
            raise ScenarioError(f"{where}: write a date with its time: 2026-09-15T22:10:00")
        moment = value if value.tzinfo else (value + self.shift).replace(tzinfo=self.zone)
        return round(moment.timestamp() * 1000)

    def device(self, value: object, where: str) -> str:
        known = {*self.devices, *self.registry.roaming}
        if value not in known:
            names = ", ".join(sorted(known))
            raise ScenarioError(f"{where}: {value!r} is no device of this scenario: {names}")
        return str(value)

    def site(self, value: object, where: str) -> str:
        if value not in self.registry.sites:
            names = ", ".join(self.registry.sites)
            raise ScenarioError(f"{where}: {value!r} is no site of the registry: {names}")
        return str(value)

    # Parts

    def _each(self, key: str, read: Callable[[_Table], T]) -> tuple[T, ...]:
        made = []
        tables = self.top.take(key, _list, [])
        for number, raw in enumerate(tables, 1):
            table = _Table(raw, f"{self.name}.{key}[{number}]")
            made.append(read(table))
            table.done()
        return tuple(made)

    def _outage(self, table: _Table) -> Outage:
        since = table.take("from", self.instant) + OUTAGE_OFFSET
        until = table.maybe("to", self.instant)
        if until is not None:
            until += OUTAGE_OFFSET
            if until <= since:
                raise ScenarioError(f"{table.where}: `to` has to come after `from`")
        return Outage(device=table.take("device", self.device), since=since, until=until)

    def _outages(self, table: _Table) -> Outages:
        shortest, longest = table.take("lasting", _spans)
        names = table.take("devices", _texts)
        return Outages(
            devices=tuple(self.device(name, f"{table.where}.devices") for name in names),
            times=table.take("times", _whole),
            shortest=shortest,
            longest=longest,
        )

    def _sos(self, table: _Table) -> Sos:
        return Sos(
            device=table.take("device", self.device),
            at=table.take("at", self.instant),
            cancel_after=table.maybe("cancel_after", span_of),
            silent=table.take("silent", _flag, False),
        )

    def _hazard(self, table: _Table) -> HazardCase:
        device = table.take("device", self.device)
        site = self._site_of(table, device)
        steps = table.take("steps", _list, [])
        return HazardCase(
            device=device,
            at=table.take("at", self.instant),
            checkpoint=self._checkpoint(table.take("checkpoint", _text), site, table.where),
            category=table.take("category", _text, "other"),
            grade=table.take("grade", _one_of("general", "major"), "general"),
            text=table.take("text", _text, ""),
            steps=tuple(
                self._step(_Table(raw, f"{table.where}.steps[{n}]"), device)
                for n, raw in enumerate(steps, 1)
            ),
        )

    def _step(self, table: _Table, device: str) -> HazardStep:
        step = HazardStep(
            action=table.take("action", _one_of(*HAZARD_STEPS)),
            after=table.take("after", span_of),
            device=table.take("device", self.device, device),
            text=table.take("text", _text, ""),
        )
        table.done()
        return step

    def _read(self, table: _Table) -> Read:
        device = table.take("device", self.device)
        site = self._site_of(table, device)
        checkpoint = table.maybe("checkpoint", _text)
        if checkpoint is None:
            tag = table.take("tag", _text)
        else:
            self._checkpoint(checkpoint, site, table.where)
            tag = self.registry.sites[site].checkpoints[checkpoint].tags[0]
        at = table.take("at", self.instant)
        return Read(
            device=device,
            at=at,
            checkpoint=checkpoint,
            tag=tag,
            site=site,
            bare=table.take("bare", _flag, False),
            again=table.take("again", _flag, False),
            tapped=table.maybe("tapped", self.instant),
        )

    def _skip(self, table: _Table) -> Skip:
        site = table.take("site", self.site)
        plan = table.maybe("plan", _text)
        plans = [p.id for p in self.registry.sites[site].plans]
        if plan is not None and plan not in plans:
            raise ScenarioError(f"{table.where}.plan: {site} has no {plan!r}: {', '.join(plans)}")
        checkpoint = table.maybe("checkpoint", _text)
        return Skip(
            site=site,
            plan=plan,
            checkpoint=checkpoint and self._checkpoint(checkpoint, site, table.where),
            since=table.take("from", self.instant),
            until=table.take("to", self.instant),
        )

    def _duty(self, table: _Table) -> Duty:
        device = table.take("device", self.device)
        return Duty(
            site=self._site_of(table, device),
            device=device,
            since=table.take("from", self.instant),
            until=table.take("to", self.instant),
        )

    def _reboot(self, table: _Table) -> Upset:
        return self._upset(table, reset=False)

    def _reset(self, table: _Table) -> Upset:
        return self._upset(table, reset=True)

    def _upset(self, table: _Table, *, reset: bool) -> Upset:
        at = table.take("at", self.instant) + OUTAGE_OFFSET
        return Upset(device=table.take("device", self.device), at=at, reset=reset)

    def _clock(self, table: _Table) -> ClockSet:
        """`ahead`, `behind` or `shows`; then `stands`, or it `gains` or `loses` so much a day."""
        device = table.take("device", self.device)
        since = table.maybe("from", self.instant)
        since = self.starts if since is None else since + OUTAGE_OFFSET
        wrong = [table.maybe("ahead", span_of), table.maybe("behind", span_of)]
        shown = table.maybe("shows", self.instant)
        if sum(told is not None for told in (*wrong, shown)) > 1:
            raise ScenarioError(f"{table.where}: one of `ahead`, `behind` and `shows` is enough")
        shows = since + (wrong[0] or 0) - (wrong[1] or 0) if shown is None else shown
        gains = table.take("gains", span_of, 0) - table.take("loses", span_of, 0)
        rate = 0.0 if table.take("stands", _flag, False) else 1 + gains / DAY
        return ClockSet(device=device, setting=Setting(since=since, shows=shows, rate=rate))

    def _make(self, table: _Table) -> Make:
        return Make(
            device=table.take("device", self.device),
            uptimes=table.take("uptimes", _flag, True),
            takes_now=table.take("takes_now", _flag, False),
        )

    def _garbage(self, table: _Table) -> Rubbish:
        device = table.take("device", _text)
        site = self._site_of(table, device)
        if device not in self.devices:
            self._strangers[device] = None
        return Rubbish(
            device=device,
            site=site,
            at=table.take("at", self.instant),
            what=table.take("what", _one_of(*GARBAGE)),
        )

    def _site_of(self, table: _Table, device: str) -> str:
        home = self.registry.home(device)
        return table.take("site", self.site, home) if home else table.take("site", self.site)

    def _checkpoint(self, checkpoint: str, site: str, where: str) -> str:
        places = self.registry.sites[site].checkpoints
        if checkpoint not in places:
            names = ", ".join(places)
            raise ScenarioError(f"{where}.checkpoint: {site} has no {checkpoint!r}: {names}")
        return checkpoint

    def _registry_text(self, folder: Path) -> str:
        path = folder / self.top.take("registry", _text, "schools.yaml")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{self.name}.registry: {path} cannot be read: {error}") from error

    def _zone(self, value: object, where: str) -> ZoneInfo:
        try:
            return ZoneInfo(_text(value, where))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ScenarioError(f"{where}: {value!r} is no time zone; Asia/Shanghai is") from error


def span_of(value: object, where: str) -> int:
    """A length of time, `90s`, `5m`, `2h`, in ms."""
    try:
        return span_ms(value, where)
    except PlanError as error:
        raise ScenarioError(str(error)) from error


def _manners(table: _Table) -> Manners:
    walk = table.take("walk", _spans, (Manners.walk_from, Manners.walk_to))
    chances = {
        f.name: table.take(f.name, _chance, f.default)
        for f in fields(Manners)
        if not f.name.startswith("walk")
    }
    table.done()
    return Manners(walk_from=walk[0], walk_to=walk[1], **chances)


def _spans(value: object, where: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ScenarioError(f'{where}: write the shortest and the longest: ["1m", "4m"]')
    shortest, longest = span_of(value[0], where), span_of(value[1], where)
    if longest < shortest:
        raise ScenarioError(f"{where}: the longest comes second")
    return shortest, longest


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ScenarioError(f"{where}: text was expected, not {value!r:.40}")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(_text(item, where) for item in _list(value, where))


def _any(value: object, _where: str) -> object:
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise ScenarioError(f"{where}: a list was expected, not {value!r:.40}")
    return value


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ScenarioError(f"{where}: a whole number was expected, not {value!r:.40}")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ScenarioError(f"{where}: true or false was expected, not {value!r:.40}")
    return value


def _key(value: object, where: str) -> bytes:
    try:
        key = bytes.fromhex(_text(value, where))
    except ValueError:
        key = b""
    if len(key) != 16:
        raise ScenarioError(f"{where}: a master key is written as 32 hex digits")
    return key


def _chance(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ScenarioError(f"{where}: a chance lies between 0 and 1, not {value!r:.40}")
    return float(value)


def _one_of(*names: str) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if value not in names:
            raise ScenarioError(f"{where}: {value!r} is none of {', '.join(names)}")
        return str(value)

    return read
