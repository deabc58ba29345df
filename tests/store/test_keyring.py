"""Master keys of tags: sealed at rest, opened by the passphrase alone, never shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from store.keyring import Cost, KeyringError, add_key, keyring, read, write_private
from store.settings import load_settings

WORDS = "correct horse battery"
CHEAP = Cost(n=2**4, r=1, p=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tag-keys.json"
    assert add_key(path, WORDS, 1_000, CHEAP) == 1
    return path


def changed(path: Path, **members: Any) -> None:
    write_private(path, json.dumps(json.loads(path.read_bytes()) | members).encode())


def test_keys_come_back_by_version_and_each_is_new(path: Path) -> None:
    """A further key is the next version; those before it stay, so that old tags still prove."""
    (first,) = read(path, WORDS)
    assert add_key(path, WORDS, 2_000) == 2
    kept = read(path, WORDS)
    assert kept[0] == first
    assert [(each.key.version, each.made_at) for each in kept] == [(1, 1_000), (2, 2_000)]
    assert kept[0].key.secret != kept[1].key.secret


def test_the_file_has_no_key_in_it_and_is_its_owners(path: Path) -> None:
    """Neither in hex nor in bytes, and nobody else may read even that."""
    secret = read(path, WORDS)[0].key.secret
    stored = path.read_bytes()
    assert secret not in stored
    assert secret.hex().encode() not in stored
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_passphrase_never_seals_twice_alike(path: Path) -> None:
    """Each writing has its own salt and nonce."""
    before = json.loads(path.read_bytes())
    add_key(path, WORDS, 2_000, CHEAP)
    after = json.loads(path.read_bytes())
    assert before["salt"] != after["salt"]
    assert before["nonce"] != after["nonce"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"nonce": "AAAAAAAAAAAAAAAA"}, "does not open"),
        ({"n": 2**5}, "does not open"),
        ({"n": 2**30}, "no file of tag keys"),
        ({"n": "x"}, "no file of tag keys"),
        ({"salt": "%"}, "no file of tag keys"),
        ({"format": "other"}, "no file of tag keys"),
    ],
)
def test_a_file_that_was_changed_does_not_open(
    path: Path, members: dict[str, Any], words: str
) -> None:
    """Every part of it is authenticated; the error says what to do and has nothing of the keys."""
    changed(path, **members)
    with pytest.raises(KeyringError, match=words):
        read(path, WORDS)


def test_another_passphrase_opens_nothing_and_changes_nothing(path: Path) -> None:
    """Neither for reading nor for a further key; the passphrase is not repeated."""
    before = path.read_bytes()
    for attempt in (lambda: read(path, "wrong-words-here"), lambda: add_key(path, "a" * 20, 1)):
        with pytest.raises(KeyringError, match="does not open") as refused:
            attempt()
        assert "wrong-words" not in str(refused.value)
    assert path.read_bytes() == before


def test_what_others_may_read_is_refused(path: Path) -> None:
    """The remedy is the command."""
    path.chmod(0o640)
    with pytest.raises(KeyringError, match="chmod 600"):
        read(path, WORDS)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    """Before a file is made with it."""
    with pytest.raises(KeyringError, match="12 characters"):
        add_key(tmp_path / "keys", "short", 1)
    assert list(tmp_path.iterdir()) == []


# Where they come from -----------------------------------------------------------------------------


@pytest.fixture
def variables(path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings name the file, and nothing opens it yet."""
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("GRIDBEAT_TAG_KEYS_FILE", str(path))
    return monkeypatch


def test_the_passphrase_comes_from_a_variable_or_a_file_of_its_own(
    path: Path, variables: pytest.MonkeyPatch
) -> None:
    """The variable goes over the file; the file is checked as the keys are."""
    with pytest.raises(KeyringError, match="GRIDBEAT_TAG_PASSPHRASE"):
        keyring(load_settings())
    file = path.parent / "words"
    variables.setenv("GRIDBEAT_TAG_PASSPHRASE_FILE", str(file))
    with pytest.raises(KeyringError, match="correct its name"):
        keyring(load_settings())
    file.write_text(WORDS + "\n")
    file.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        keyring(load_settings())
    file.chmod(0o600)
    assert keyring(load_settings()).latest == 1
    variables.setenv("GRIDBEAT_TAG_PASSPHRASE", "not the words at all")
    with pytest.raises(KeyringError, match="does not open"):
        keyring(load_settings())


def test_keys_of_the_environment_go_over_the_file(variables: pytest.MonkeyPatch) -> None:
    """As a secret store hands them in; then no passphrase is needed."""
    variables.setenv("GRIDBEAT_TAG_MASTER_KEYS", f"1={'00' * 16}, 7={'ab' * 16}")
    ring = keyring(load_settings())
    assert (ring.latest, ring.keys[7].secret) == (7, b"\xab" * 16)


@pytest.mark.parametrize(
    "told", ["00" * 16, f"1={'00' * 15}", "1=c0ffee", f"x={'00' * 16}", "1=zz"]
)
def test_keys_that_are_none_are_refused_unseen(told: str, variables: pytest.MonkeyPatch) -> None:
    """The error says how to write them, and not what was written."""
    variables.setenv("GRIDBEAT_TAG_MASTER_KEYS", told)
    with pytest.raises(KeyringError, match="32 hex digits") as refused:
        keyring(load_settings())
    assert told not in str(refused.value)


def test_without_either_there_are_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most schools have no such tags: nothing is asked of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDBEAT_TAG_KEYS_FILE", str(tmp_path / "none"))
    assert keyring(load_settings()).latest is None
