"""The house itself: where packages come from, what is pinned, what may not be committed."""

import importlib
import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "devices": ROOT,
    "rules": ROOT,
    "store": ROOT,
    "ingest": ROOT,
    "desk": ROOT,
    "cli": ROOT,
    "firmware_sim": ROOT / "firmware-sim" / "src",
}
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_comes_from_this_repository(room: str) -> None:
    """Names as plain as `cli` or `rules` must never be somebody else's package."""
    found = importlib.import_module(room).__file__
    assert found is not None
    assert Path(found).resolve() == ROOMS[room] / room / "__init__.py"


@pytest.mark.parametrize("name", ["gridbeat", "firmware-sim"])
def test_the_licence_is_said_in_spdx(name: str) -> None:
    """The package's own data names its licence by its SPDX expression."""
    assert importlib.metadata.metadata(name)["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_by_hash_and_names_no_index(name: str) -> None:
    """Whoever installs gets what was tested, from whichever index is theirs."""
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|--index|--find-links|--extra-index", text)
    for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert re.match(r"[\w.\[\]-]+==\S+", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]


def test_every_dependency_is_locked() -> None:
    """What a distribution asks for is in the lock, whoever asks."""
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / LOCKS[0]).read_text(), re.MULTILINE))
    for name in ("gridbeat", "firmware-sim"):
        for wanted in importlib.metadata.requires(name) or ():
            if "extra ==" not in wanted:
                assert re.split(r"[\[><=~; ]", wanted)[0].lower() in locked


def test_no_credential_or_machine_path_is_committed() -> None:
    """What `broker init` and `device enroll` make, and where this was built, stay here."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = listed.stdout.split("\n")
    assert not [
        name
        for name in names
        if Path(name).name in ("passwd", "acl", "gridbeat.toml", "ca.key", "server.key")
        and not name.startswith("examples/")
    ]


def test_the_readmes_map_every_room() -> None:
    """A stranger finds the room for a change from the tree alone, in both languages."""
    for readme in ("README.md", "README.zh-CN.md"):
        text = (ROOT / readme).read_text()
        for room in ("devices", "rules", "store", "ingest", "desk", "cli", "firmware-sim"):
            assert f"[`{room}/`]({room})" in text
