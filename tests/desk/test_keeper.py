"""The keeper: the broker's files follow the ledger, whatever once stood in the way."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from desk import access, broker, credentials
from desk.acts import By
from desk.keeper import COMPARE_EVERY, Keeper
from rules.access import Step
from store.database import open_engine
from store.settings import Settings
from tests.filled import NOW, fill

HOUR = 3_600_000
CHIEF = By(author="chief", now=NOW)


class Ours:
    """A filled ledger, the files of a broker that does not run, and their keeper."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder / "broker", engine
        broker.init(self.folder)
        settings = Settings(database_url=f"sqlite:///{folder / 'gridbeat.db'}")
        self.keeper = Keeper(settings.model_copy(update={"broker_dir": self.folder}), engine)
        access.enroll(engine, self.folder, "hh-0101", by=CHIEF)
        self.compare(2)

    def compare(self, times: int) -> None:
        """As many looks as make that many comparisons."""
        for _ in range(COMPARE_EVERY * times):
            self.keeper.look(NOW)

    def users(self) -> set[str]:
        return set(broker.passwords(self.folder)) - {broker.CHECK_USER, "gridbeat"}


@contextmanager
def no_room_for(passwords: Path) -> Iterator[None]:
    """As on a full disk that file cannot be written anew, while the ledger, far smaller, can."""
    room = 4 << 20
    users = credentials.read_passwords(passwords)
    credentials.write_passwords(passwords, users | {"x" * room: credentials.hashed("x")})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    engine = open_engine(fill(tmp_path))
    yield Ours(tmp_path, engine)
    engine.dispose()


def test_what_could_not_be_written_when_it_ended_is_written_later(ours: Ours) -> None:
    """An old password whose time is up does not work on because the files could not be written."""
    access.rotate(ours.engine, ours.folder, "hh-0101", by=CHIEF, overlap=HOUR)
    ours.compare(2)
    assert ours.users() == {"hh-0101", "hh-0101.2"}
    with no_room_for(ours.folder / "passwd"), capture_logs() as told:
        ours.keeper.look(NOW + HOUR)
    assert [line["log_level"] for line in told] == ["warning"]
    assert "File too large" in told[0]["remark"]
    assert ours.users() > {"hh-0101", "hh-0101.2"}
    ours.compare(1)
    assert not ours.users() & {"hh-0101"}


def test_the_keeper_takes_up_what_a_command_left(ours: Ours) -> None:
    """A shut-out that is in the ledger alone gets to the files; a command that is just writing them
    is not overtaken.
    """
    access.move(ours.engine, ours.folder, "hh-0101", Step.SUSPEND, by=CHIEF, reason=None)
    ours.compare(1)
    assert ours.users() == {"hh-0101"}
    ours.compare(1)
    assert ours.users() == set()
    before = (ours.folder / "passwd").read_text()
    ours.compare(2)
    assert (ours.folder / "passwd").read_text() == before
