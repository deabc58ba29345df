"""`gridbeat tag`, from the master key to the sheet; and that no key is ever shown."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from desk.paper import width
from firmware_sim.suntags import SunTag
from store.keyring import keyring, read
from store.settings import load_settings
from tests.cli.running import Gridbeat
from tests.filled import fill

UID = "04A2B3C4D5E681"
WORDS = "correct horse battery"


@pytest.fixture
def gridbeat(tmp_path: Path) -> Gridbeat:
    fill(tmp_path)
    settings = {
        "GRIDBEAT_TAG_KEYS_FILE": str(tmp_path / "tag-keys.json"),
        "GRIDBEAT_TAG_PASSPHRASE": WORDS,
    }
    made = Gridbeat(folder=tmp_path, settings=settings)
    done = made("tag", "new-key")
    assert done.returncode == 0, done.stderr
    return made


def enrolled(gridbeat: Gridbeat, *more: str) -> dict:
    done = gridbeat("tag", "enroll", UID, "--author", "王", "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_tag_is_enrolled_listed_and_retired(gridbeat: Gridbeat) -> None:
    """Who did it and when stands in the list; a second enrolment is a further row."""
    enrolled(gridbeat)
    assert enrolled(gridbeat)["generation"] == 2
    rows = json.loads(gridbeat("tag", "list", "--json").stdout)
    assert [(row["uid"], row["generation"], row["author"]) for row in rows] == [
        (UID, 1, "王"),
        (UID, 2, "王"),
    ]
    assert gridbeat("tag", "retire", UID).stdout == f"retired  {UID}\n"
    assert gridbeat("tag", "retire", UID).returncode == 1
    assert all(row["retired_at"] for row in json.loads(gridbeat("tag", "list", "--json").stdout))
    listed = gridbeat("tag", "list", "--site", rows[0]["site"], "--lang", "zh").stdout
    assert UID in listed
    assert gridbeat("tag", "list", "--site", "school-99").returncode == 1


def test_all_tags_of_a_master_key_are_retired_at_once(gridbeat: Gridbeat) -> None:
    """When a key is known to others; tags of a newer one stay."""
    enrolled(gridbeat)
    assert gridbeat("tag", "new-key").stdout.startswith("master key 2")
    assert enrolled(gridbeat)["key_version"] == 2
    assert gridbeat("tag", "retire", "--key", "1").returncode == 0
    rows = json.loads(gridbeat("tag", "list", "--json").stdout)
    assert [(row["key_version"], row["retired_at"] is None) for row in rows] == [
        (1, False),
        (2, True),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("enroll", "0499"), 2, "seven bytes"),
        (("enroll", "04FFFFFFFFFFFF"), 1, "registry apply"),
        (("sheet", UID), 1, f"gridbeat tag enroll {UID}"),
        (("retire",), 2, "--key VERSION"),
        (("retire", UID), 1, "gridbeat tag list"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    gridbeat: Gridbeat, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Wrong usage is 2, what lacks a step before it 1."""
    done = gridbeat("tag", *arguments)
    assert done.returncode == code
    assert words in done.stderr


def test_without_a_master_key_the_way_to_one_is_told(tmp_path: Path) -> None:
    """Enrolling comes second."""
    fill(tmp_path)
    gridbeat = Gridbeat(
        folder=tmp_path, settings={"GRIDBEAT_TAG_KEYS_FILE": str(tmp_path / "none.json")}
    )
    assert "gridbeat tag new-key" in gridbeat("tag", "enroll", UID).stderr


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_sheet_fits_a_page_and_says_what_is_written(gridbeat: Gridbeat, lang: str) -> None:
    """80 columns; the NDEF file, the settings and both offsets; and no key."""
    made = enrolled(gridbeat)
    sheet = gridbeat("tag", "sheet", UID, "--lang", lang).stdout
    assert max(width(line) for line in sheet.splitlines()) <= 80
    written = "".join(re.findall(r"^   ((?:[0-9A-F]{2} ?)+)$", sheet, re.MULTILINE))
    assert written.replace(" ", "") == made["ndef"] + made["file_settings"]
    for offset in (made["picc_offset"], made["mac_offset"]):
        assert f"{offset} (0x{offset:02X})" in sheet
    assert made["url"] in sheet


def test_a_tag_written_by_its_file_proves_presence(gridbeat: Gridbeat) -> None:
    """The keys go into a new file for its owner alone; with them the service reads the tag."""
    file = gridbeat.folder / "writer.json"
    enrolled(gridbeat, "--keys-to", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert gridbeat("tag", "sheet", UID, "--keys-to", str(file)).returncode == 1
    told = json.loads(file.read_text())
    (kept,) = read(gridbeat.folder / "tag-keys.json", WORDS)
    tag = SunTag(UID, kept.key.secret)
    assert bytes.fromhex(told["keys"][1]) == tag._file
    assert bytes.fromhex(told["keys"][2]) == tag._meta
    assert len(set(told["keys"])) == 5
    assert set(told["keys_before"]) == {"00" * 16}
    enrolled(gridbeat)
    again = gridbeat.folder / "again.json"
    assert gridbeat("tag", "sheet", UID, "--keys-to", str(again)).returncode == 0
    assert json.loads(again.read_text())["keys_before"] == told["keys"]


def tags_check(gridbeat: Gridbeat) -> tuple[str, str]:
    rows = json.loads(gridbeat("doctor", "--json").stdout)
    found = [row for row in rows if row["what"] == "tags"]
    return (found[0]["state"], found[0]["detail"]) if found else ("", "")


def test_doctor_tells_what_keeps_tags_from_proving(gridbeat: Gridbeat) -> None:
    """Nobody asks, nothing is said; then a tag without keys, a key that is not here, and so on."""
    assert tags_check(gridbeat) == ("", "")
    with sqlite3.connect(gridbeat.folder / "gridbeat.db") as ledger:
        asked = "SELECT checkpoint_id FROM tag WHERE uid = ? AND until IS NULL"
        ledger.execute(f"UPDATE checkpoint SET proof = 'sun' WHERE id = ({asked})", (UID,))  # noqa: S608
    ledger.close()
    state, detail = tags_check(gridbeat)
    assert (state, UID in detail) == ("warn", True)
    enrolled(gridbeat)
    assert tags_check(gridbeat)[0] == "ok"
    variable = {"GRIDBEAT_TAG_MASTER_KEYS": f"2={'00' * 16}"}
    other = Gridbeat(folder=gridbeat.folder, settings=gridbeat.settings | variable)
    state, detail = tags_check(other)
    assert (state, "master key 1" in detail) == ("wrong", True)
    variable = {"GRIDBEAT_TAG_PASSPHRASE": "not the words at all"}
    wrong = Gridbeat(folder=gridbeat.folder, settings=gridbeat.settings | variable)
    assert tags_check(wrong)[0] == "wrong"


def test_no_key_and_no_passphrase_is_ever_shown(
    gridbeat: Gridbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a command, an error, a traceback, a repr, or the ledger."""
    file = gridbeat.folder / "writer.json"
    (kept,) = read(gridbeat.folder / "tag-keys.json", WORDS)
    said = [
        gridbeat(*arguments)
        for arguments in (
            ("tag", "enroll", UID, "--keys-to", str(file)),
            ("tag", "sheet", UID, "--json"),
            ("tag", "list", "--json"),
            ("config", "show"),
            ("config", "show", "--json"),
            ("doctor",),
            ("tag", "enroll", "0499"),
        )
    ]
    debugging = gridbeat.settings | {
        "GRIDBEAT_DEBUG": "1",
        "GRIDBEAT_TAG_PASSPHRASE": "wrong-words-here",
    }
    wrong = Gridbeat(folder=gridbeat.folder, settings=debugging)
    said += [wrong("tag", "enroll", UID), wrong("tag", "new-key")]
    for name, value in (gridbeat.settings | {"GRIDBEAT_TAG_MASTER_KEYS": f"1={'e5' * 16}"}).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    ring = keyring(settings)
    shown = "".join(done.stdout + done.stderr for done in said)
    shown += f"{settings!r} {settings} {ring!r} {settings.model_dump()} {settings.describe()}"
    ledger = (gridbeat.folder / "gridbeat.db").read_bytes()
    secrets = [kept.key.secret, *map(bytes.fromhex, json.loads(file.read_text())["keys"])]
    for secret in (*secrets, b"\xe5" * 16):
        assert secret.hex() not in shown.lower()
        assert repr(secret)[2:-1] not in shown
        assert secret not in ledger
        assert secret.hex().upper().encode() not in ledger
    for words in (WORDS, "wrong-words-here"):
        assert words not in shown
