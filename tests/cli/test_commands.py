"""The commands: rows for scripts, exit codes, what is said when something is wrong."""

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from desk.details import said
from tests.cli.running import PROGRAM, ROOT, Gridbeat
from tests.filled import REGISTRY, fill
from tests.servers import free_port

GOLDEN = Path(__file__).parent / "golden"
LISTINGS = ("checkin", "round", "gap", "event", "hazard", "device", "quarantine")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Gridbeat:
    """A ledger that no test of this file changes."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder)
    return Gridbeat(folder=folder)


@pytest.fixture
def empty(tmp_path: Path) -> Gridbeat:
    """A folder with nothing in it."""
    return Gridbeat(folder=tmp_path)


def test_help_imports_nothing_heavy() -> None:
    """`gridbeat --help` is there at once: no database, no network, no table library is imported."""
    script = (
        "import sys; from cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'sqlmodel', 'pydantic_settings', 'aiohttp', 'aiomqtt', 'paho',"
        " 'rich', 'influxdb_client', 'chinese_calendar', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for arguments in (["--help"], ["round", "list", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Usage: gridbeat" in done.stdout
        assert done.stderr.strip() == "[]"


COMMANDS = """
    ingest|demo|status|doctor|db upgrade|db backup|registry apply|broker init|device enroll|
    device list|checkin list|round list|round explain|gap list|event list|event watch|event ack|
    hazard list|hazard show|quarantine list|quarantine show|config show|series status|
    series rebuild|series ask|quota list|plan preview|plan excuse|plan substitute|silence add|
    silence list|calendar show|calendar import|calendar check|calendar list|calendar retire
"""


@pytest.mark.parametrize("command", [name.strip() for name in COMMANDS.split("|")])
def test_every_command_of_the_contract_is_there(command: str, empty: Gridbeat) -> None:
    """Each command that scripts rely on answers `--help` with its own usage."""
    done = empty(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Usage: gridbeat {command}" in done.stdout


@pytest.mark.parametrize("listing", LISTINGS)
def test_rows_for_scripts_are_pinned(filled: Gridbeat, listing: str) -> None:
    """`--json` is one array on stdout and nothing else, its rows member by member as ever."""
    done = filled(listing, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((GOLDEN / f"{listing}.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["checkin", "list", "--json"], 0),
        (["round", "list", "--site", "nowhere"], 1),
        (["round", "list", "--since", "soon"], 2),
        (["round", "list", "--nonsense"], 2),
    ],
)
def test_the_process_ends_with_its_code(filled: Gridbeat, arguments: list[str], code: int) -> None:
    """The exit code is the process's own, and stderr holds no traceback."""
    done = filled.process(*arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("listing", LISTINGS)
def test_an_empty_listing_is_an_empty_array(filled: Gridbeat, listing: str) -> None:
    """Nothing found is `[]` and no failure."""
    done = filled(listing, "list", "--json", "--since", "2030-01-01T00:00Z", "--until", "now")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_table_in_a_file_is_neither_coloured_nor_cut(
    filled: Gridbeat, listing: str, lang: str
) -> None:
    """A file has no width: every line of the table is as long as its head, none is shortened."""
    from rich.cells import cell_len

    done = filled(listing, "list", "--lang", lang)
    assert done.returncode == 0
    assert lang == "en" or "kept" not in done.stdout
    assert "\x1b" not in done.stdout
    head, first = done.stdout.splitlines()[:2]
    assert cell_len(head) == cell_len(first)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_followed_events_stand_under_each_other(lang: str) -> None:
    """Whatever its severity and state, the site of a followed event begins in one column."""
    from rich.cells import cell_len

    from cli.output import SEVERITIES, STATES
    from cli.watch import line

    told = {"at": 1788276600000, "site": "school-01", "message": {lang: "x"}}
    lines = [
        line(told | {"severity": severity, "state": state}, lang, {}).plain
        for severity in SEVERITIES
        for state in STATES
    ]
    assert len({cell_len(text[: text.index("school-01")]) for text in lines}) == 1


def test_a_followed_event_has_its_sites_time_and_the_id_that_ack_takes() -> None:
    """As `event list` shows both; of a site that is not known, the time names its zone."""
    from cli.watch import ID_SIGNS, line
    from desk.names import Place
    from desk.notice import SHORTEST

    told = {"id": "0123456789abcdef", "at": 1788276600000, "site": "school-01", "message": {}}
    place = Place(name="School 1", timezone="Asia/Shanghai")
    here = line(told, "en", {"school-01": place}).plain
    assert "09-01 23:30:00  01234567  " in here
    assert "  School 1  " in here
    assert "09-01 15:30:00 UTC  01234567  " in line(told, "en", {}).plain
    assert ID_SIGNS >= SHORTEST


CLOCKS = [
    (60_000, "+60s"),
    (3_600_000, "+1h00m"),
    (-500, "+0s"),
    (-25 * 3_600_000, "-25h00m (clock ahead?)"),
    (-30_000, "-30s (clock ahead?)"),
]


@pytest.mark.parametrize(("lag", "said"), CLOCKS)
def test_a_listing_says_how_long_a_check_in_took_and_which_clock_is_wrong(
    lag: int, said: str
) -> None:
    """A read of the future is shown as far ahead as it is."""
    assert _lag_of(at=1788276600000, received_at=1788276600000 + lag) == said


def test_a_clock_that_was_never_set_is_called_that() -> None:
    """A read of 1970 did not take 56 years: its device lost its clock."""
    assert _lag_of(at=5_000, received_at=1788276600000) == "clock not set"
    assert _lag_of(at=5_000, received_at=1788276600000, lang="zh") == "时钟未设置"
    corrected = _lag_of(at=5_000, received_at=1788276600000, corrected_at=1788276590000)
    assert corrected == "+10s (by uptime)"


def _lag_of(*, at: int, received_at: int, corrected_at: int | None = None, lang: str = "en") -> str:
    from types import SimpleNamespace

    from cli.checkin import _lag
    from cli.listing import Look
    from desk.names import Names

    look = Look(names=Names(sites={}, checkpoints={}, plans={}, people={}), lang=lang, now=at)
    row = SimpleNamespace(
        at=at,
        received_at=received_at,
        corrected_at=corrected_at,
        corrected_how=None if corrected_at is None else "uptime",
        via="nfc",
        time_source="device",
    )
    return _lag(look, row)


def test_doctor_does_not_call_a_service_well_that_nobody_answers_for(tmp_path: Path) -> None:
    """Killed a moment ago, its last marker is still young: doctor says both, and what to do."""
    fill(tmp_path)
    now = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger, ledger:
        ledger.execute("DELETE FROM worker")
        row = ("gridbeat", "system", now - 60_000, now - 2_000)
        ledger.execute(
            "INSERT INTO worker (instance, clock, started_at, marker_at, folded_entry)"
            " VALUES (?, ?, ?, ?, 0)",
            row,
        )
    address = f"127.0.0.1:{free_port()}"
    gridbeat = Gridbeat(folder=tmp_path, settings={"GRIDBEAT_HTTP_ADDRESS": address})
    checks = json.loads(gridbeat("doctor", "--json").stdout)
    service = next(check for check in checks if check["what"] == "service")
    assert service["state"] == "warn"
    assert f"s ago, and nobody answers at {address} now" in service["detail"]
    assert "gridbeat ingest" in service["remedy"]
    assert re.search(r"gridbeat  ✓ seen \d+ ?s ago", gridbeat("status", "--lang", "en").stdout)


@pytest.fixture
def answers() -> Iterator[str]:
    """The address of a service that runs and is not ready."""

    class Unready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"mqtt: not connected")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Unready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _ran(folder: Path, instance: str, marker_at: int) -> None:
    with closing(sqlite3.connect(folder / "gridbeat.db")) as ledger, ledger:
        ledger.execute(
            "INSERT INTO worker (instance, clock, started_at, marker_at, folded_entry)"
            " VALUES (?, 'system', ?, ?, 0)",
            (instance, marker_at - 60_000, marker_at),
        )


def test_status_does_not_call_a_service_dead_that_answers(tmp_path: Path, answers: str) -> None:
    """Its broker is gone, so that no marker comes back: it runs, and says what it waits for."""
    fill(tmp_path)
    _ran(tmp_path, "gridbeat", time.time_ns() // 1_000_000 - 22_000)
    gridbeat = Gridbeat(folder=tmp_path, settings={"GRIDBEAT_HTTP_ADDRESS": answers})
    told = gridbeat("status", "--lang", "en").stdout
    assert "runs, not ready: mqtt: not connected" in told
    assert "not running" not in told
    gone = Gridbeat(folder=tmp_path, settings={"GRIDBEAT_HTTP_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert "✗ not running, last seen" in gone("status", "--lang", "en").stdout


def test_status_leaves_out_an_instance_of_the_past(tmp_path: Path) -> None:
    """What ran here once is told for a day; the only one there ever was, for good."""
    fill(tmp_path)
    now = time.time_ns() // 1_000_000
    gridbeat = Gridbeat(folder=tmp_path)
    _ran(tmp_path, "two", now - 3 * 86_400_000)
    assert "two  ✗ not running" in gridbeat("status", "--lang", "en").stdout
    _ran(tmp_path, "gridbeat", now)
    told = gridbeat("status", "--lang", "en").stdout
    assert "gridbeat  ✓" in told
    assert "two" not in told
    assert len(json.loads(gridbeat("status", "--json").stdout)["services"]) == 2


def test_a_row_of_status_tells_every_verdict(tmp_path: Path) -> None:
    """A school whose only round was incomplete, unknown or excused has that in its row."""
    fill(tmp_path)
    now = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger, ledger:
        ledger.execute("UPDATE obligation SET opens = ?, standing = 'incomplete'", (now - 1,))
    gridbeat = Gridbeat(folder=tmp_path)
    told = gridbeat("status", "--lang", "en").stdout.splitlines()
    assert all("!" in line for line in told[-2:])
    by_site = json.loads(gridbeat("status", "--json").stdout)["rounds_by_site"]
    assert {site: set(counts) for site, counts in by_site.items()} == {
        "school-01": {"incomplete"},
        "school-02": {"incomplete"},
    }


def test_quarantine_says_why_in_the_language_of_whoever_reads(filled: Gridbeat) -> None:
    """The ledger keeps English; `--lang zh` shows Chinese, `--json` what is kept."""
    from desk.details import said

    details = [row["detail"] for row in json.loads(filled("quarantine", "list", "--json").stdout)]
    listed = filled("quarantine", "list", "--lang", "zh").stdout
    for detail in details:
        assert said(detail, "zh") != detail
        assert said(detail, "zh")[:4] in listed


def test_a_time_of_no_site_names_its_zone() -> None:
    """In a listing what belongs to no site is dated by this machine's zone, and says which."""
    from types import SimpleNamespace

    from cli.listing import Look
    from desk.names import Names
    from desk.times import aware

    at = 1788276600000
    look = Look(names=Names(sites={}, checkpoints={}, plans={}, people={}), lang="en", now=at)
    own = look.time(SimpleNamespace(at=at, timezone="Asia/Shanghai"), "at")
    assert own == f"{aware(at, 'Asia/Shanghai'):%m-%d %H:%M:%S}"
    ours = look.time(SimpleNamespace(at=at, timezone=None), "at")
    assert ours == f"{aware(at, None):%m-%d %H:%M:%S %Z}"


def test_a_site_that_nobody_knows_is_refused(filled: Gridbeat) -> None:
    """A question about it has no empty answer, and nobody watches it through a quiet night."""
    for command in (("series", "ask", "site-state-now"), ("event", "watch")):
        done = filled(*command, "--site", "schol-01", "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert "near: school-01" in done.stderr


CHINESE = """
    checkin list|checkin map list|round list|review list|gap list|quota list|event list|hazard list|
    tag list|device list|quarantine list|plan excuses|plan substitutions|calendar list|
    calendar show|silence list|profile list
"""


def test_an_empty_listing_is_told_in_the_language_of_whoever_reads(tmp_path: Path) -> None:
    """With `--lang zh` nothing that is not there is told in English."""
    gridbeat = Gridbeat(folder=tmp_path)
    assert gridbeat("db", "upgrade").returncode == 0
    for command in CHINESE.split("|"):
        done = gridbeat(*command.split(), "--lang", "zh")
        assert (done.returncode, done.stderr) == (0, ""), command
        assert "没有" in done.stdout, command
        assert not re.search("[A-Za-z]", done.stdout), command


def test_a_proof_is_told_in_the_language_of_whoever_reads() -> None:
    """Why a tag proves nothing is a machine's word in English, and words in Chinese."""
    from types import SimpleNamespace

    from cli.checkin import _proof
    from cli.listing import Look
    from desk.names import Names
    from devices.proofs import Proof

    names = Names(sites={}, checkpoints={}, plans={}, people={})
    zh, en = (Look(names=names, lang=lang, now=0) for lang in ("zh", "en"))
    for proof in set(Proof) - {Proof.PROVEN}:
        row = SimpleNamespace(proof=proof.value)
        assert _proof(en, row) == f"✗ {proof.value}"
        assert not re.search(r"[a-z]{2}", _proof(zh, row))


def test_at_the_turn_of_the_year_columns_tell_whole_days_and_whole_times(tmp_path: Path) -> None:
    """In January an evening's due is a time of day still, and a day of last year has its year."""
    fill(tmp_path)
    evening, january = 1788273000000, 1798761600000  # 2026-09-01 22:30, 2027-01-01 08:00, +08:00
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger, ledger:
        ledger.execute("DELETE FROM worker")
        ledger.execute(
            "INSERT INTO worker (instance, clock, started_at, marker_at, folded_entry)"
            " VALUES ('sim', 'mqtt', ?, ?, 0)",
            (evening, january),
        )
        ledger.execute("UPDATE device SET enrolled_at = ?", (evening,))
    gridbeat = Gridbeat(folder=tmp_path)
    for listing in ("round", "gap"):
        told = gridbeat(listing, "list", "--site", "school-01", "--lang", "en").stdout
        assert re.search(r"2026-09-01 \d\d:\d\d  \d\d:\d\d:\d\d  ", told)
    assert re.search(r"\d\d:\d\d:\d\d(–\d\d:\d\d:\d\d| …)\s*$", told, re.MULTILINE)
    devices = gridbeat("device", "list", "--lang", "en").stdout
    assert re.search(r"^hh-0101 .* 2026-09-01\s*$", devices, re.MULTILINE)


@pytest.mark.parametrize("listing", ["round", "gap"])
def test_what_is_not_scored_is_listed_as_such(tmp_path: Path, listing: str) -> None:
    """Where nobody had told the class of its day, a listing says that it counts in no score."""
    fill(tmp_path)
    gridbeat = Gridbeat(folder=tmp_path)
    assert "not scored" not in gridbeat(listing, "list", "--lang", "en").stdout
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger, ledger:
        ledger.execute("UPDATE obligation SET scored = 0")
    assert ", not scored" in gridbeat(listing, "list", "--lang", "en").stdout
    assert "，不计分" in gridbeat(listing, "list", "--lang", "zh").stdout
    rows = json.loads(gridbeat(listing, "list", "--json").stdout)
    assert {row["scored"] for row in rows} == {False}


def test_dates_are_the_sites_own(filled: Gridbeat) -> None:
    """`--since DAY` of one site begins at that site's midnight, not at this machine's."""
    london = filled("round", "list", "--json", "--site", "school-02", "--since", "2026-09-01")
    assert len(json.loads(london.stdout)) == 1
    late = filled("checkin", "list", "--json", "--site", "school-01", "--since", "2026-09-02")
    assert json.loads(late.stdout) == []


@pytest.mark.parametrize("machine", ["UTC", "America/New_York"])
def test_words_of_time_without_a_site_are_in_the_sites_time(tmp_path: Path, machine: str) -> None:
    """Where all sites have one zone it is theirs, whatever this machine's is."""
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger:
        ledger.execute("UPDATE site SET timezone = 'Asia/Shanghai'")
        ledger.commit()
    gridbeat = Gridbeat(folder=tmp_path, settings={"TZ": machine})
    spans = (
        (
            "2026-09-01T22:00",
            "2026-09-01T22:10",
            "2026-09-01T22:00+08:00",
            "2026-09-01T22:10+08:00",
        ),
        ("2026-09-01", "2026-09-01", "2026-09-01T00:00+08:00", "2026-09-02T00:00+08:00"),
    )
    for since, until, *told in spans:
        words, exact = (
            ("--since", since, "--until", until),
            ("--since", told[0], "--until", told[1]),
        )
        found = json.loads(gridbeat.process("checkin", "list", "--json", *words).stdout)
        assert found
        assert found == json.loads(gridbeat("checkin", "list", "--json", *exact).stdout)
    span = ("--from", "2099-01-01T10:00", "--until", "2099-01-01T18:00", "--reason", "x")
    gridbeat.process("silence", "add", "--kind", "device.offline", *span)
    silence = json.loads(gridbeat("silence", "list", "--json").stdout)[0]
    assert datetime.fromisoformat(silence["until_at"]) == datetime.fromisoformat(
        "2099-01-01T18:00:00+08:00"
    )


@pytest.mark.parametrize("words", ["today", "22:00", "2026-09-01", "2026-09-01T22:00"])
def test_where_sites_have_several_zones_whose_time_must_be_said(
    filled: Gridbeat, words: str
) -> None:
    """Never guessed: a site or an offset is asked for; spans and exact times need neither."""
    done = filled("round", "list", "--since", words)
    assert (done.returncode, "--site" in done.stderr) == (2, True)
    for exact in ("2h", "now", "2026-09-01T22:00+08:00", "2026-09-01T14:00Z"):
        assert filled("round", "list", "--since", exact).returncode == 0
    assert filled("round", "list", "--since", words, "--site", "school-01").returncode == 0


WRONG = [
    (["checkin", "list", "--since", "soon"], 2, "for example 2026-09-01"),
    (["round", "list", "--nonsense"], 2, "--nonsense"),
    (["event", "list", "--lang", "fr"], 2, "zh or en"),
    (["series", "ask", "why"], 2, "checkins-per-hour"),
    (["registry", "apply", "nowhere.yaml"], 2, "nowhere.yaml"),
    (["plan", "preview", "school-01/night", "--file", "nowhere.yaml"], 2, "nowhere.yaml"),
    (["round", "list", "--site", "school-1"], 1, "near: school-01"),
    (["round", "explain", "school-01/night/never"], 1, "near: school-01/night"),
    (["event", "ack", "0123456789"], 1, "gridbeat event list"),
    (["hazard", "show", "hh-0101/0/99"], 1, "gridbeat hazard list"),
    (["quarantine", "show", "99"], 1, "gridbeat quarantine list"),
    (["device", "enroll", "hh-9999"], 1, "gridbeat registry apply"),
    (["device", "enroll", "hh-0101"], 1, "gridbeat broker init"),
    (["series", "rebuild"], 1, "GRIDBEAT_INFLUX_URL"),
    (["db", "backup", "gridbeat.db"], 1, "exists already"),
    (["event", "watch"], 4, "gridbeat doctor"),
    (["checkin", "import", "gridbeat.db", "--map", "nosuch.yaml"], 2, "gridbeat checkin map list"),
    (["checkin", "import", "gridbeat.db", "--map", "nosuch.yaml"], 2, "nosuch.yaml"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG)
def test_what_is_wrong_is_said_with_the_next_step(
    filled: Gridbeat, arguments: list[str], code: int, words: str
) -> None:
    """An error has its exit code, says the next step on stderr, and never shows a traceback."""
    unreachable = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{free_port()}"}
    done = Gridbeat(folder=filled.folder, settings=unreachable)(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_ledger_that_is_not_there(empty: Gridbeat) -> None:
    """Before `db upgrade` every command that needs the ledger names that command."""
    for command in (["status"], ["checkin", "list"], ["ingest"]):
        done = empty(*command)
        assert done.returncode == 1
        assert "gridbeat db upgrade" in done.stderr


def test_settings_that_are_wrong(filled: Gridbeat) -> None:
    """A setting that cannot be is wrong usage, and the setting is named."""
    bad = Gridbeat(folder=filled.folder, settings={"GRIDBEAT_MQTT_URL": "http://here"})
    done = bad("status")
    assert done.returncode == 2
    assert "GRIDBEAT_MQTT_URL" in done.stderr


def test_flags_go_over_variables(filled: Gridbeat, tmp_path: Path) -> None:
    """`--database-url` and `--config` before the command are the ones that count."""
    elsewhere = Gridbeat(folder=tmp_path)
    url = f"sqlite:///{filled.folder / 'gridbeat.db'}"
    assert len(json.loads(elsewhere("--database-url", url, "hazard", "list", "--json").stdout)) == 1
    (tmp_path / "mine.toml").write_text('instance = "mine"\n')
    shown = json.loads(elsewhere("--config", "mine.toml", "config", "show", "--json").stdout)
    assert {row["name"]: row["value"] for row in shown}["instance"] == "mine"


def test_a_broker_in_the_clear_needs_a_word(filled: Gridbeat) -> None:
    """Beyond loopback without TLS nothing starts, unless it is said by name that it may."""
    there = ("--mqtt-url", "mqtt://gridbeat:geheim@broker.example")
    refused = filled(*there, "status")
    assert refused.returncode == 2
    assert "--mqtt-insecure" in refused.stderr
    assert "geheim" not in refused.stderr
    assert filled(*there, "--mqtt-insecure", "status").returncode == 0


def test_a_school_begins(empty: Gridbeat) -> None:
    """From nothing: upgrade, dry run, apply, apply again without change, broker, enrol, backup."""
    file = empty.folder / "registry.yaml"
    file.write_text(REGISTRY, encoding="utf-8")
    assert empty("db", "upgrade").returncode == 0
    dry = json.loads(empty("registry", "apply", str(file), "--dry-run", "--json").stdout)
    made = json.loads(empty("registry", "apply", str(file), "--json").stdout)
    again = json.loads(empty("registry", "apply", str(file), "--json").stdout)
    assert dry["changes"] == made["changes"] != []
    assert (dry["version"], made["version"]) == (0, 1)
    assert (again["changes"], again["version"]) == ([], 1)
    assert empty("broker", "init").returncode == 0
    enrolled = json.loads(empty("device", "enroll", "hh-0101", "--json").stdout)
    assert (enrolled["username"], len(enrolled["password"]), enrolled["live"]) == (
        "hh-0101",
        26,
        False,
    )
    assert empty("device", "enroll", "hh-0101").returncode == 1
    renewed = json.loads(empty("device", "enroll", "hh-0101", "--renew", "--json").stdout)
    assert renewed["password"] != enrolled["password"]
    devices = {row["id"]: row for row in json.loads(empty("device", "list", "--json").stdout)}
    assert devices["hh-0101"]["enrolled_at"] is not None
    assert devices["hh-0201"]["enrolled_at"] is None
    assert empty("db", "backup", str(empty.folder / "copy.db")).returncode == 0


def test_a_step_without_its_report_is_told(tmp_path: Path) -> None:
    """Its `ref` may be mistaken, or the report is still to come: `hazard list` names it."""
    fill(tmp_path)
    gridbeat = Gridbeat(folder=tmp_path)
    assert gridbeat("hazard", "list").stderr == ""
    with closing(sqlite3.connect(tmp_path / "gridbeat.db")) as ledger, ledger:
        ledger.execute("INSERT INTO hazard_step VALUES ('hh-0101/0/99', 1)")
    done = gridbeat("hazard", "list", "--json")
    assert "hh-0101/0/99 (1)" in done.stderr
    assert len(json.loads(done.stdout)) == 1


def test_a_wand_gets_no_password(empty: Gridbeat) -> None:
    """It never speaks to the broker: enrolling one is refused with what it is read by."""
    file = empty.folder / "registry.yaml"
    wand = "{id: hh-0101, protocol: wand, address: '7'}"
    file.write_text(re.sub(r"\{id: hh-0101\b[^}]*\}", wand, REGISTRY))
    empty("db", "upgrade")
    assert empty("registry", "apply", str(file)).returncode == 0
    empty("broker", "init")
    done = empty("device", "enroll", "hh-0101")
    assert (done.returncode, done.stdout) == (1, "")
    assert "gridbeat checkin import" in done.stderr


def test_a_registry_that_is_wrong(empty: Gridbeat) -> None:
    """A bad file changes nothing, and each fault is told with its line."""
    file = empty.folder / "registry.yaml"
    file.write_text(REGISTRY.replace("timezone: Asia/Shanghai", "timezone: Mars/Base"))
    empty("db", "upgrade")
    done = empty("registry", "apply", str(file))
    assert done.returncode == 1
    assert "line " in done.stderr
    assert json.loads(empty("device", "list", "--json").stdout) == []


def test_an_event_is_acknowledged(tmp_path: Path) -> None:
    """`event ack` makes the next revision, with who and why, by the beginning of an id."""
    fill(tmp_path)
    gridbeat = Gridbeat(folder=tmp_path)
    events = json.loads(gridbeat("event", "list", "--json").stdout)
    sos = next(event for event in events if event["kind"] == "sos.raised")
    arguments = ("--author", "值班员", "--note", "已到现场", "--json")
    acked = json.loads(gridbeat("event", "ack", sos["id"][:8], *arguments).stdout)
    assert (acked["revision"], acked["state"]) == (2, "acknowledged")
    assert acked["data"]["acknowledged"]["by"] == "值班员"
    assert acked["data"]["acknowledged"]["note"] == "已到现场"
    held = json.loads(gridbeat("event", "list", "--json").stdout)
    assert acked in held
    every = json.loads(gridbeat("event", "list", "--all", "--json").stdout)
    assert len(every) == len(held) + 1


@pytest.mark.slow
def test_one_of_each_is_shown(filled: Gridbeat) -> None:
    """`hazard show` has the steps, `quarantine show --raw` the very bytes."""
    hazard = json.loads(filled("hazard", "show", "hh-0101/0/5", "--json").stdout)
    assert [step["action"] for step in hazard["steps"]] == ["report"]
    shown = filled("hazard", "show", "hh-0101/0/5", "--lang", "zh").stdout
    assert "+08:00  上报  已上报  " in shown
    raw = subprocess.run(
        [*PROGRAM, "quarantine", "show", "1", "--raw"],
        env=filled.environment,
        capture_output=True,
        check=True,
    )
    assert raw.stdout == b"garbage\xff{"
    listed = json.loads(filled("quarantine", "list", "--json").stdout)[0]
    assert f"detail       {listed['detail']}\n" in filled("quarantine", "show", "1").stdout
    chinese = said(listed["detail"], "zh")
    assert chinese != listed["detail"]
    assert chinese in filled("quarantine", "show", "1", "--lang", "zh").stdout


def test_status_tells_how_things_stand(filled: Gridbeat) -> None:
    """`status` counts what is open, by severity, and says that no service ever ran."""
    done = filled("status", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["services"] == []
    assert found["open_events"] == {"critical": 2, "high": 1}
    assert [site["site"] for site in found["sites"]] == ["school-01", "school-02"]
    assert "gridbeat ingest" in filled("status").stdout


def test_doctor_says_what_does_not_answer(filled: Gridbeat) -> None:
    """Without a broker `doctor` exits 4, and every row with a fault says what to do."""
    settings = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{free_port()}"}
    done = Gridbeat(folder=filled.folder, settings=settings)("doctor", "--json")
    checks = json.loads(done.stdout)
    assert done.returncode == 4
    assert {check["what"] for check in checks} == {
        "database",
        "disk",
        "registry",
        "service",
        "broker",
        "series",
        "clock",
    }
    faults = [check for check in checks if check["state"] not in ("ok", "off")]
    assert all(check["remedy"] for check in faults)
    assert {c["what"]: c["state"] for c in checks}["broker"] == "unreachable"


def test_doctor_says_what_is_wrong(empty: Gridbeat) -> None:
    """A ledger that is missing is wrong, and the remedy is the command."""
    done = empty("doctor", "--json")
    database = next(c for c in json.loads(done.stdout) if c["what"] == "database")
    assert (database["state"], database["remedy"]) == ("wrong", "gridbeat db upgrade")
    assert done.returncode in (3, 4)


@pytest.mark.slow
def test_a_reader_that_goes_away(filled: Gridbeat) -> None:
    """`gridbeat … --json | head -1` ends without a word on stderr."""
    process = filled.start("checkin", "list", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(30)


def test_a_misspelt_variable_is_told_by_every_command(tmp_path: Path) -> None:
    """It sets nothing, which nobody would notice; what was perhaps meant is named. stdout is for
    the answer."""
    gridbeat = Gridbeat(folder=tmp_path, settings={"GRIDBEAT_MQTT_ULR": "x", "GRIDBEAT_FOO": "1"})
    done = gridbeat("db", "upgrade", "--json")
    assert done.returncode == 0
    json.loads(done.stdout)
    assert "GRIDBEAT_MQTT_ULR sets nothing; did you mean GRIDBEAT_MQTT_URL?" in done.stderr
    assert "GRIDBEAT_FOO sets nothing" in done.stderr


def test_a_settings_file_that_is_not_there_is_named_as_it_was_given(tmp_path: Path) -> None:
    """`--config` is what has to be corrected where `--config` was said."""
    done = Gridbeat(folder=tmp_path)("--config", "none.toml", "status")
    assert done.returncode == 2
    assert "none.toml: cannot be read" in done.stderr
    assert "correct --config" in done.stderr


@pytest.mark.parametrize(("path", "named"), [("/sys/x.db", "/sys"), ("/sys/x/x.db", "/sys/x")])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, path: str, named: str) -> None:
    """`db upgrade` says which folder, why, and what to do."""
    gridbeat = Gridbeat(folder=tmp_path, settings={"GRIDBEAT_DATABASE_URL": f"sqlite:///{path}"})
    done = gridbeat("db", "upgrade")
    assert done.returncode == 1
    assert f"{named} " in done.stderr
    assert "set database_url to another one" in done.stderr


def test_a_ledger_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """`db upgrade` says which file, and what to do; not only what SQLite says."""
    (tmp_path / "gridbeat.db").mkdir()
    done = Gridbeat(folder=tmp_path)("db", "upgrade")
    assert done.returncode == 1
    assert f"{tmp_path / 'gridbeat.db'} cannot be opened to write" in done.stderr
    assert "see that file and folder are this user's" in done.stderr
