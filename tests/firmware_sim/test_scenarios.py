"""Scenarios: what is refused and how, what a seed fixes, and what the built-in ones hold."""

import datetime as dt
import tomllib

import pytest

from firmware_sim.access import AccessError, read_access
from firmware_sim.guards import Do, walk
from firmware_sim.plans import occasions
from firmware_sim.reading import built_in, load, parse
from firmware_sim.scenario import ScenarioError

FOLDER = next(iter(built_in().values())).parent
NAMES = list(built_in())
BASE = """
starts = 2026-09-15T05:30:00
ends = 2026-09-16T06:30:00
"""


def scenario(text: str):
    return parse(tomllib.loads(BASE + text), FOLDER, "mine")


def test_the_least_scenario_is_two_times():
    """Everything but the beginning and the end has a default."""
    assert scenario("").devices == ("hh-0101", "hh-0102", "hh-0201", "hh-0202", "hh-0301")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 3", "mine: unknown `colour`"),
        ("seed = -1", "mine.seed: a whole number"),
        ('timezone = "Mars/Base"', "mine.timezone: 'Mars/Base' is no time zone"),
        ('registry = "nowhere.yaml"', "mine.registry: .*nowhere.yaml cannot be read"),
        ('devices = ["hh-9"]', "mine.devices: 'hh-9' is no device of this scenario: hh-0101"),
        ("[guards]\ndawdle = 2", "mine.guards.dawdle: a chance lies between 0 and 1"),
        ("[guards]\nsleepy = 1", "mine.guards: unknown `sleepy`"),
        ('[guards]\nwalk = ["4m", "1m"]', "mine.guards.walk: the longest comes second"),
        ('[guards]\nwalk = ["4", "5m"]', "mine.guards.walk: '4' is no length of time"),
        ('[[offline]]\ndevice = "hh-0101"', r"mine.offline\[1\]: `from` is missing"),
        (
            '[[offline]]\ndevice = "hh-9"\nfrom = 2026-09-15T10:00:00',
            r"mine.offline\[1\].device: 'hh-9' is no device of this scenario: hh-0101",
        ),
        (
            '[[offline]]\ndevice = "hh-0101"\nfrom = "ten"',
            r"mine.offline\[1\].from: write a date with its time",
        ),
        (
            '[[offline]]\ndevice = "hh-0101"\nfrom = 2026-09-15T10:00:00\nto = 2026-09-15T09:00:00',
            "`to` has to come after `from`",
        ),
        (
            '[[skip]]\nsite = "school-01"\nplan = "noon"\n'
            "from = 2026-09-15T10:00:00\nto = 2026-09-15T11:00:00",
            r"mine.skip\[1\].plan: school-01 has no 'noon': day, night, dorm-gap",
        ),
        (
            '[[garbage]]\ndevice = "x"\nsite = "school-01"\n'
            'at = 2026-09-15T10:00:00\nwhat = "poem"',
            "'poem' is none of bytes, no-seq",
        ),
        (
            '[[hazard]]\ndevice = "hh-0101"\nat = 2026-09-15T10:00:00\ncheckpoint = "moon"',
            r"mine.hazard\[1\].checkpoint: school-01 has no 'moon': gate-east",
        ),
        ('[[clock]]\nahead = "7m"', r"mine.clock\[1\]: `device` is missing"),
        (
            '[[clock]]\ndevice = "hh-0101"\nahead = "7m"\nbehind = "1m"',
            r"mine.clock\[1\]: one of `ahead`, `behind` and `shows` is enough",
        ),
        (
            '[[clock]]\ndevice = "hh-0101"\nahead = "-7m"',
            r"mine.clock\[1\].ahead: '-7m' is no length of time",
        ),
        (
            '[[handheld]]\ndevice = "hh-0101"\nuptimes = "no"',
            r"mine.handheld\[1\].uptimes: true or false was expected",
        ),
        ("marker = 1", "mine.marker: 1 is no length of time"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, words):
    """An error names the file, the place in it and what would be right."""
    with pytest.raises(ScenarioError, match=words):
        scenario(text)


def test_ends_before_it_starts():
    """A scenario has a length."""
    raw = tomllib.loads(BASE.replace("09-16", "09-14"))
    with pytest.raises(ScenarioError, match="`ends` has to come after `starts`"):
        parse(raw, FOLDER, "mine")


def test_an_unknown_name_lists_the_known_ones():
    """Whoever mistypes a scenario sees which there are."""
    with pytest.raises(ScenarioError, match="normal-day"):
        load("nromal-day")


def test_broken_toml_says_where(tmp_path):
    """A file that is no TOML is refused with its line."""
    path = tmp_path / "x.toml"
    path.write_text("starts = \n")
    with pytest.raises(ScenarioError, match="line 1"):
        load(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_acts(name):
    """The same scenario and seed make the same acts; another seed makes others."""
    one, same, other = (walk(load(name), seed) for seed in (5, 5, 6))
    assert one == same
    assert one.acts != other.acts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", NAMES)
def test_no_read_falls_on_the_edge_of_an_outage(name, seed):
    """The network changes on half seconds, people act on whole ones or on edges of windows."""
    acts = walk(load(name), seed).acts
    networks = {a.at for a in acts if a.do in (Do.CUT, Do.MEND, Do.REBOOT, Do.RESET)}
    people = {a.at for a in acts if a.do in (Do.READ, Do.HAZARD, Do.SOS, Do.GARBAGE)}
    assert not networks & people
    assert acts == tuple(sorted(acts, key=lambda act: act.order))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", NAMES)
def test_outages_of_a_device_do_not_overlap(name, seed):
    """Each device is cut and mended in turn."""
    held: dict[str, bool] = {}
    for act in walk(load(name), seed).acts:
        if act.do in (Do.CUT, Do.MEND):
            assert held.get(act.device, True) is (act.do is Do.CUT)
            held[act.device] = act.do is Do.MEND


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("", lambda at: at),
        ('ahead = "7m"', lambda at: at + 420_000),
        ('behind = "2h"', lambda at: at - 7_200_000),
        ('loses = "24s"', lambda at: at - (at - load("normal-day").starts) // 3600),
        ("shows = 2000-01-01T00:00:00Z\nstands = true", lambda _at: 946_684_800_000),
    ],
)
def test_a_clock_is_set_as_it_is_written(text, shows):
    """Ahead, behind, losing so much a day, standing: from the start where no time is given."""
    made = scenario(f'[[clock]]\ndevice = "hh-0101"\n{text}')
    (clock,) = made.clocks
    for later in (0, 3_600_000, 36_000_000):
        at = made.starts + later
        assert clock.setting.tells(at) == shows(at)


def test_a_clock_steps_with_the_network_on_half_seconds():
    """As outages do: never at the very instant of a read."""
    made = scenario('[[clock]]\ndevice = "hh-0101"\nfrom = 2026-09-15T12:00:00\nahead = "1m"')
    assert made.clocks[0].setting.since % 1000 == 500


def opened(name: str) -> dict[str, list[str]]:
    """By plan, the local times at which the rounds of a scenario open and close."""
    played = load(name)
    found: dict[str, list[str]] = {}
    for o in occasions(played.registry, played.starts, played.ends):
        opens, closes = (
            dt.datetime.fromtimestamp(t / 1000, played.zone) for t in (o.opens, o.closes)
        )
        found.setdefault(o.plan.id, []).append(f"{opens:%d %H:%M%z}-{closes:%H:%M%z}")
    return found


def test_in_the_night_of_autumn_an_hour_comes_twice():
    """`opens` is the first occurrence, `closes` the last; nothing is owed twice."""
    found = opened("dst-night")
    assert found["turning"] == ["25 01:30+0200-02:30+0100"]
    assert found["within"] == ["25 02:00+0200-03:00+0100"]
    assert found["out"] == ["25 02:30+0200-03:30+0100"]


def test_in_the_night_of_spring_an_hour_is_skipped():
    """What does not exist is the first instant after the jump; an empty window is not owed."""
    found = opened("dst-night-spring")
    assert found["turning"] == ["29 01:30+0100-03:00+0200"]
    assert "within" not in found
    assert found["out"] == ["29 03:00+0200-03:30+0200"]


def test_every_day_of_the_makeup_week_owes_what_its_class_says():
    """A make-up Saturday and Sunday are school days, feasts are not, whatever day of the week."""
    days = {
        plan: {opening[:2] for opening in openings}
        for plan, openings in opened("makeup-week").items()
    }
    assert days["makeup"] == {"20", "10"}
    assert days["school"] == {"20", "21", "22", "23", "24", "28", "29", "30", "08", "09", "10"}
    assert days["feast"] == {"25", "26", "27", "01", "02", "03", "04", "05", "06", "07"}
    assert days["weekend"] == {"19", "11"}
    assert days["idle"] == days["feast"] | days["weekend"]
    assert days["dorm-gap"] == days["night"] == days["school"]


def test_shifted_scenarios_keep_their_wall_times():
    """Playing a scenario on another day moves everything by whole days."""
    moved, written = load("normal-day", shift_days=3), load("normal-day")
    assert moved.starts - written.starts == 3 * 86_400_000
    assert moved.sos[0].at - written.sos[0].at == 3 * 86_400_000


def test_credentials_in_toml_and_json(tmp_path):
    """Both forms say the same: who each device is, and who drives the clock."""
    toml = tmp_path / "c.toml"
    toml.write_text('[devices]\nhh-0101 = "pw"\n[clock]\nuser = "sim"\npassword = "x"\n')
    json_ = tmp_path / "c.json"
    json_.write_text('{"hh-0101": "pw", "clock": {"user": "sim", "password": "x"}}')
    for path in (toml, json_):
        access = read_access("mqtt://127.0.0.1:1", path)
        assert access.login("hh-0101").password == "pw"
        assert (access.clock.user, access.clock.password) == ("sim", "x")
        assert not access.may_stray("ghost-01")
        with pytest.raises(AccessError, match="device enroll hh-0102"):
            access.require(["hh-0102"])


@pytest.mark.parametrize("url", ["127.0.0.1", "http://x", "mqtt://", "mqtt://h:99999999"])
def test_a_url_that_is_none(url):
    """A broker's URL is refused in words that show one."""
    with pytest.raises(AccessError):
        read_access(url, None)


@pytest.mark.parametrize(
    ("url", "may"), [("mqtt://127.0.0.1", True), ("mqtt://[::1]", True), ("mqtt://b.cn", False)]
)
def test_strangers_come_only_over_loopback(url, may):
    """Without logins, a stranger is played only where no login is needed."""
    assert read_access(url, None).may_stray("ghost-01") is may
