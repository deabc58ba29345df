"""Credentials in the ledger: they follow the table, whatever is tried, and leave a trail."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from rules.access import LOGINS, STEPS, Access, Step
from store import registry
from store.access import (
    Act,
    Login,
    StepRefused,
    adopt,
    holder,
    lapsed,
    left_by_retired,
    next_lapse,
    take,
    usernames,
)
from store.database import open_engine, writing
from tests.blank import blank
from tests.filled import REGISTRY

DEVICE = "hh-0101"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_engine(blank(tmp_path_factory.mktemp("access") / "ledger.db"))
    document = registry.read_document(REGISTRY.encode())
    registry.apply(engine, document, now=0, author="a", source="s")
    yield engine
    engine.dispose()


class _Undone(Exception):  # noqa: N818 - nothing is wrong: what was done is thrown away
    pass


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is thrown away."""
    with pytest.raises(_Undone), writing(engine) as connection:
        yield connection
        raise _Undone


def step(connection: Connection, number: int, what: Step) -> Access:
    held = holder(connection, DEVICE)
    assert held is not None
    taken = {login.username for login in held.logins}
    name = DEVICE if what is not Step.ROTATE or DEVICE not in taken else f"{DEVICE}.2"
    login = Login(username=name, hash=f"hash-{number}")
    gives = what in (Step.ENROLL, Step.RENEW, Step.ROTATE)
    act = Act(
        step=what,
        author=f"author-{number}",
        at=number,
        login=login if gives else None,
        until=number + 10 if what is Step.ROTATE else None,
    )
    return take(connection, held, act)


@given(st.lists(st.sampled_from([what for what in Step if what is not Step.RETIRE]), max_size=9))
def test_the_ledger_follows_the_table(engine: Engine, steps: list[Step]) -> None:
    """After any steps a device stands where the table says, with as many logins as belong there."""
    with pytest.raises(_Undone), writing(engine) as connection:
        access = Access.NEW
        taken = 0
        for number, what in enumerate(steps, start=1):
            after = STEPS.get((access, what))
            if after is None:
                with pytest.raises(StepRefused):
                    step(connection, number, what)
            else:
                assert step(connection, number, what) is after
                access, taken = after, taken + 1
            held = holder(connection, DEVICE)
            assert held is not None
            assert (held.access, len(held.working)) == (access, LOGINS[access])
        assert len(trail(connection)) == taken
        raise _Undone


def trail(connection: Connection) -> list[dict[str, object]]:
    rows = connection.execute(
        text("SELECT author, at, body FROM entry WHERE author LIKE 'author-%' ORDER BY id")
    )
    return [{"author": row.author, "at": row.at} | json.loads(row.body) for row in rows]


def test_each_step_is_written_down(connection: Connection) -> None:
    """Who did what, when, from where to where, and no word of a password or its hash."""
    step(connection, 1, Step.ENROLL)
    step(connection, 2, Step.ROTATE)
    step(connection, 3, Step.SUSPEND)
    assert trail(connection)[1:] == [
        {
            "author": "author-2",
            "at": 2,
            "do": "device.rotate",
            "device": DEVICE,
            "was": "enrolled",
            "now": "rotating",
            "username": f"{DEVICE}.2",
            "until": 12,
        },
        {
            "author": "author-3",
            "at": 3,
            "do": "device.suspend",
            "device": DEVICE,
            "was": "rotating",
            "now": "suspended",
        },
    ]
    assert "hash" not in json.dumps(trail(connection))


def test_an_old_credential_has_its_time(connection: Connection) -> None:
    """The old one of a rotation is due at its instant, not before; names go to and fro."""
    step(connection, 1, Step.ENROLL)
    step(connection, 2, Step.ROTATE)
    assert next_lapse(connection) == 12
    assert lapsed(connection, 11) == []
    (held,) = lapsed(connection, 12)
    take(connection, held, Act(step=Step.FINISH, author="author-9", at=12))
    assert next_lapse(connection) is None
    step(connection, 13, Step.ROTATE)
    held = holder(connection, DEVICE)  # type: ignore[assignment]
    assert [login.username for login in held.working] == [f"{DEVICE}.2", DEVICE]
    assert usernames(connection) == {DEVICE, f"{DEVICE}.2"}


def test_a_device_the_registry_retired_has_no_login(connection: Connection) -> None:
    """Whoever is retired by a file is not let in, and its credentials are there to be ended."""
    step(connection, 1, Step.ENROLL)
    registry.retire_device(connection, DEVICE, now=5, author="a")
    held = holder(connection, DEVICE)
    assert held is not None
    assert held.working == ()
    (left,) = left_by_retired(connection)
    assert take(connection, left, Act(step=Step.RETIRE, author="author-6", at=6)) is Access.RETIRED
    assert left_by_retired(connection) == []
    with pytest.raises(StepRefused):
        step(connection, 7, Step.ENROLL)


def test_retiring_is_followed_like_a_file(connection: Connection) -> None:
    """A device retired by a command is a new version of the registry, so the service follows it."""
    before = registry.load_holding(connection).version
    assert registry.retire_device(connection, DEVICE, now=5, author="a") == before + 1
    held = registry.load_holding(connection).things[registry.Kind.DEVICE]
    assert held[registry.Key(None, DEVICE)].retired


def test_passwords_from_before_are_taken_up_once(connection: Connection) -> None:
    """A device enrolled before the ledger kept credentials keeps the one the broker knows."""
    connection.execute(text("UPDATE device SET enrolled_at = 7 WHERE slug = :s"), {"s": DEVICE})
    for _ in range(2):
        adopt(connection, {DEVICE: "old", "somebody": "else"})
    held = holder(connection, DEVICE)
    assert held is not None
    assert held.working == (Login(username=DEVICE, hash="old"),)
