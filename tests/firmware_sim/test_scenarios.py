"""Scenarios: what is refused and how, what a seed fixes, and what the built-in ones hold."""

import tomllib

import pytest

from firmware_sim.access import AccessError, read_access
from firmware_sim.guards import Do, walk
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
