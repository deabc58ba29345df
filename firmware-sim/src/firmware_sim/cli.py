"""`firmware-sim`: run a scenario against a broker, print its registry, list what there is."""

import asyncio
import datetime as dt
import json
import math
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from firmware_sim import recording
from firmware_sim.access import Access, AccessError, read_access
from firmware_sim.capture import TOPICS, capture
from firmware_sim.chronicle import verdict_file, write
from firmware_sim.driver import Driver, Manner, Outcome, Step
from firmware_sim.faults import FAULTS
from firmware_sim.fleet import NoReceiptsError, new_boot
from firmware_sim.handheld import Battery, Fitting, Habits, Handheld
from firmware_sim.link import LinkDownError, Login, RefusedError, parse_url
from firmware_sim.oracle import judge
from firmware_sim.paper import Paper
from firmware_sim.plans import PlanError
from firmware_sim.player import Pace, Played, Player, with_ticks
from firmware_sim.proofs import counting, marks, proving_tags
from firmware_sim.reading import built_in, load
from firmware_sim.scenario import Scenario, ScenarioError
from firmware_sim.solo import COURSE, Outing, Solo, at_scale

FAILED, USAGE, UNREACHABLE = 1, 2, 4

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


class Progress(StrEnum):
    """How a run tells where it stands."""

    TEXT = "text"
    JSON = "json"
    NONE = "none"


@app.command()
def run(  # noqa: PLR0913, PLR0917  # one parameter an option, as typer wants it
    scenario: Annotated[str, typer.Argument(help="A file, or the name of a built-in scenario.")],
    mqtt_url: Annotated[
        str,
        typer.Option(
            envvar="GRIDBEAT_SIM_MQTT_URL",
            help="mqtt://user:password@host:port; the user is the clock's driver.",
        ),
    ] = "mqtt://127.0.0.1:1883",
    credentials: Annotated[
        Path | None, typer.Option(help="TOML or JSON: [devices] ID = password; [clock] user, …")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="GRIDBEAT_SIM_MQTT_CA_FILE", help="The authority that mqtts:// is to trust."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for truth.jsonl and verdicts.json.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The scenario's own by default.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Real length of the run; 0: as fast as it goes.")
    ] = 0.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a service or broker that is away.")
    ] = 120.0,
    no_clock: Annotated[
        bool, typer.Option("--no-clock", help="Play in real time, from now on; no ticks.")
    ] = False,
    progress: Annotated[Progress, typer.Option(help="text goes to stderr, json to stdout.")] = (
        Progress.TEXT
    ),
) -> None:
    """Play a scenario through a broker; the service must have its registry applied."""
    shift = _days_until_today(scenario) if no_clock else 0
    played = load(scenario, shift_days=shift)
    access = read_access(mqtt_url, credentials, ca_file)
    access.require(played.devices)
    manner = Manner(
        seed=played.seed if seed is None else seed,
        seconds=seconds,
        patience=patience,
        ticking=not no_clock,
    )
    outcome = asyncio.run(_stoppable(played, access, manner, _watch(progress)))
    if outcome is None:
        typer.echo("interrupted; every device has left in good order", err=True)
        raise typer.Exit(FAILED)
    _finish(played, manner, outcome, out, progress)


@app.command()
def record(  # noqa: PLR0913, PLR0917  # one parameter an option, as typer wants it
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Packed where it ends in .gz.")],
    scenario: Annotated[
        str | None, typer.Option(help="Write what its fleet would publish; no broker is needed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The scenario's own by default.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for truth.jsonl and verdicts.json.")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="Or write what this broker passes on: mqtt://user:…@host")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The authority that mqtts:// is to trust.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help=f"What to listen to: by default {', '.join(TOPICS)}.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to listen; 0: until interrupted.")
    ] = 0.0,
) -> None:
    """Record a fleet into a file for `play`: a scenario's, or a living one's."""
    if (scenario is None) == (broker is None):
        raise typer.BadParameter("one of them, please", param_hint="--scenario, --broker")
    if broker is not None:
        access = read_access(broker, None, ca_file)
        with recording.recording(file) as recorder:
            asyncio.run(capture(access, recorder, topic or TOPICS, seconds, _tell_listening))
            typer.echo(f"{recorder.messages} messages recorded", err=True)
        return
    played = load(str(scenario))
    manner = Manner(seed=played.seed if seed is None else seed)
    access = read_access("mqtt://127.0.0.1", None)
    with recording.recording(file) as recorder:
        paper = Paper(recorder, played.starts)
        driver = Driver(played, access, manner, lambda _step: None, paper.dial)
        outcome = asyncio.run(driver.run())
    _finish(played, manner, outcome, out, Progress.JSON)


@app.command()
def play(  # noqa: PLR0913, PLR0917  # one parameter an option, as typer wants it
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `record` wrote.")],
    mqtt_url: Annotated[
        str,
        typer.Option(
            envvar="GRIDBEAT_SIM_MQTT_URL",
            help="mqtt://user:password@host:port; it writes every device's topics, and the clock.",
        ),
    ] = "mqtt://127.0.0.1:1883",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="GRIDBEAT_SIM_MQTT_CA_FILE", help="The authority that mqtts:// is to trust."
        ),
    ] = None,
    speed: Annotated[str, typer.Option(help="real, times as fast (60), or max.")] = "max",
    ahead: Annotated[
        int, typer.Option(min=0, help="Messages no receipt has followed, at most; 0: any number.")
    ] = Pace.ahead,
    tick: Annotated[
        int, typer.Option(min=0, help="Seconds between ticks where none are recorded; 0: none.")
    ] = Pace.tick // 1000,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a service or broker that is stuck.")
    ] = Pace.patience,
) -> None:
    """Publish a recording; the service runs with GRIDBEAT_CLOCK=mqtt and its registry applied."""
    pace = Pace(speed=_speed(speed), ahead=ahead, tick=tick * 1000, patience=patience)
    extent = recording.check(file)  # a file that is cut must not be played half
    access = read_access(mqtt_url, None, ca_file)
    player = Player(access.broker, access.clock, pace, _progress(extent))
    said = recording.read(file)
    try:
        played = player.play(said if extent.ticks or not tick else with_ticks(said, pace.tick))
    finally:
        player.close()
    summary = {"done": True, **asdict(played), "first": extent.first, "last": extent.last}
    typer.echo(json.dumps(summary))


@app.command()
def device(  # noqa: PLR0913, PLR0917  # one parameter an option, as typer wants it
    id_: Annotated[str, typer.Argument(metavar="ID", help="The device's id, which is its user.")],
    site: Annotated[str, typer.Option(help="The site it belongs to.")],
    tag: Annotated[str, typer.Option(help="The tag it reads.")] = "04A2B3C4D5E680",
    mqtt_url: Annotated[
        str, typer.Option(envvar="GRIDBEAT_SIM_MQTT_URL", help="mqtt://user:password@host:port")
    ] = "mqtt://127.0.0.1:1883",
    seconds: Annotated[float, typer.Option(min=1, help="How long it runs.")] = 300.0,
    scale: Annotated[
        float, typer.Option(min=0.001, max=1, help="Its times, as a share of the contract's.")
    ] = 1.0,
    fault: Annotated[
        str | None, typer.Option(help=f"Broken firmware: {', '.join(FAULTS)}.")
    ] = None,
) -> None:
    """Run one handheld in real time, right or broken: for `gridbeat contract check`."""
    if fault is not None and fault not in FAULTS:
        raise typer.BadParameter(f"{fault!r} is none of {', '.join(FAULTS)}", param_hint="--fault")
    try:
        broker, login = parse_url(mqtt_url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mqtt-url") from None
    rng, now = random.Random(), time.time_ns() // 1_000_000
    fitting = Fitting(
        device=id_,
        site=site,
        habits=Habits(heartbeat=60_000).scaled(scale),
        battery=Battery(since=now),
    )
    handheld = (Handheld if fault is None else FAULTS[fault])(
        fitting, epoch=rng.getrandbits(32), boot=new_boot(rng), now=now, rng=rng
    )
    outing = Outing(
        broker=broker,
        login=Login(client_id=id_) if login is None else replace(login, client_id=id_),
        tag=tag,
        seconds=seconds,
        course=at_scale(COURSE, scale),
    )
    asyncio.run(Solo(handheld, outing, rng).run())


@app.command()
def registry(scenario: Annotated[str, typer.Argument(help="A scenario's name or file.")]) -> None:
    """Print the registry file a scenario needs, for `gridbeat registry apply`."""
    typer.echo(load(scenario).registry_text, nl=False)


@app.command()
def devices(scenario: Annotated[str, typer.Argument(help="A scenario's name or file.")]) -> None:
    """Print the ids of the devices that need a credential, one a line."""
    played = load(scenario)
    for device in dict.fromkeys([*played.devices, *played.registry.roaming]):
        typer.echo(device)


@app.command()
def tags(scenario: Annotated[str, typer.Argument(help="A scenario's name or file.")]) -> None:
    """Print the master key and the UIDs of the tags that prove presence, as JSON."""
    played = load(scenario)
    master = played.tag_master
    told = {
        "master_keys": None if master is None else f"1={master.hex()}",
        "tags": sorted(proving_tags(played.registry)) if master else [],
    }
    typer.echo(json.dumps(told))


@app.command()
def scenarios() -> None:
    """List the built-in scenarios."""
    for name in built_in():
        typer.echo(f"{name:16} {load(name).title}")


def main() -> None:
    """Console entry: turns the known errors into their exit codes."""
    try:
        app()
    except (ScenarioError, PlanError, AccessError) as error:
        _stop(error, USAGE)
    except recording.RecordingError as error:
        _stop(error, FAILED)
    except (NoReceiptsError, RefusedError, LinkDownError) as error:
        _stop(error, UNREACHABLE)


def _stop(error: Exception, code: int) -> None:
    typer.echo(f"firmware-sim: {error}", err=True)
    sys.exit(code)


async def _stoppable(
    scenario: Scenario, access: Access, manner: Manner, watch: Callable[[Step], None]
) -> Outcome | None:
    """Run until the end or until SIGINT or SIGTERM; None when stopped."""
    driver = Driver(scenario, access, manner, watch)
    playing = asyncio.create_task(driver.run())

    def stop() -> None:
        driver.stop()
        playing.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop)
    try:
        return await playing
    except asyncio.CancelledError:
        return None


def _finish(
    scenario: Scenario, manner: Manner, outcome: Outcome, out: Path | None, progress: Progress
) -> None:
    course = outcome.chronicle.course(outcome.first_tick, outcome.last_tick)
    about = {
        "scenario": scenario.name,
        "seed": manner.seed,
        "timezone": str(scenario.zone),
        "counts": outcome.chronicle.counts(),
    }
    counted = replace(course, visits=counting(scenario.registry, course.visits))
    found = marks(scenario.registry, course.visits)
    file = verdict_file(judge(scenario.registry, counted), found, course, about)
    if out is not None:
        write(out, outcome.chronicle.lines(outcome.doings.omissions), file)
    summary = {
        "done": True,
        "now": outcome.last_tick,
        "real_seconds": round(outcome.seconds, 3),
        **outcome.tally.members(),
        "counts": file["counts"],
        "summary": file["summary"],
    }
    if progress is Progress.JSON:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    elif progress is Progress.TEXT:
        typer.echo(json.dumps(summary, ensure_ascii=False, indent=2), err=True)


def _watch(progress: Progress) -> Callable[[Step], None]:
    if progress is Progress.JSON:
        return _tell_json
    if progress is Progress.TEXT and sys.stderr.isatty():
        return _tell_text
    return lambda _step: None


def _tell_json(step: Step) -> None:
    line = {
        "now": step.now,
        "share": round(step.share, 4),
        "offline": list(step.offline),
        "left": step.left,
        **step.tally.members(),
    }
    typer.echo(json.dumps(line))


def _tell_text(step: Step) -> None:
    moment = dt.datetime.fromtimestamp(step.now / 1000, dt.UTC)
    tally = step.tally
    text = f"{step.share:4.0%} {moment:%m-%d %H:%M:%SZ} {tally.checkins} check-ins"
    typer.echo(f"\r{text}, {tally.receipted} receipted, {tally.sos} sos ", err=True, nl=False)


def _tell_listening() -> None:
    typer.echo("listening; Ctrl-C ends the recording", err=True)


def _speed(text: str) -> float | None:
    """Times real time; None for as fast as it goes."""
    if text in ("real", "max"):
        return 1.0 if text == "real" else None
    try:
        times = float(text.removesuffix("x"))
    except ValueError:
        times = 0.0
    if not 0 < times < math.inf:
        raise typer.BadParameter("real, max, or a number above 0", param_hint="--speed")
    return times


def _progress(extent: recording.Extent) -> Callable[[Played], None]:
    if not sys.stderr.isatty():
        return lambda _played: None

    def tell(played: Played) -> None:
        share = (played.messages + played.ticks) / max(1, extent.messages)
        moment = dt.datetime.fromtimestamp(played.at / 1000, dt.UTC)
        text = f"\r{share:4.0%} {moment:%Y-%m-%d %H:%MZ} {played.messages} messages "
        typer.echo(text, err=True, nl=False)

    return tell


def _days_until_today(scenario: str) -> int:
    played = load(scenario)
    starts = dt.datetime.fromtimestamp(played.starts / 1000, played.zone).date()
    return (dt.datetime.now(played.zone).date() - starts).days
