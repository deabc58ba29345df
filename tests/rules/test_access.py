"""The table of who may speak."""

import pytest

from rules.access import LOGINS, STEPS, Access, Step, standing


def test_every_device_can_be_retired_and_nothing_else_ends_there() -> None:
    """From wherever a device stands it can be retired, and from there no step leads anywhere."""
    for access in Access:
        assert STEPS.get((access, Step.RETIRE)) is (
            None if access is Access.RETIRED else Access.RETIRED
        )
    assert not [step for access, step in STEPS if access is Access.RETIRED]


@pytest.mark.parametrize("access", [Access.ENROLLED, Access.ROTATING])
def test_whoever_speaks_can_be_stopped(access: Access) -> None:
    """Every state in which a login works can be suspended, and then none does."""
    assert LOGINS[access] > 0
    assert LOGINS[STEPS[access, Step.SUSPEND]] == 0


def test_the_state_is_what_the_ledger_holds() -> None:
    """How many credentials have not ended, and whether somebody suspended it, is the state."""
    for access in (Access.NEW, Access.ENROLLED, Access.ROTATING):
        assert standing(suspended=False, credentials=LOGINS[access]) is access
    assert standing(suspended=True, credentials=1) is Access.SUSPENDED


def test_two_passwords_work_only_while_one_takes_the_others_place() -> None:
    """Only a rotation leads to two credentials, and each way out of it leaves one or none."""
    into = {step for (_, step), access in STEPS.items() if access is Access.ROTATING}
    out = [after for (access, _), after in STEPS.items() if access is Access.ROTATING]
    assert into == {Step.ROTATE}
    assert all(LOGINS[after] < 2 for after in out)
