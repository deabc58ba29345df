"""Hazards as cases: what is told of one, folded into how it stands.

    reported ─accept─► accepted ─progress─► in-progress ─resolved─► resolved ─verified─► closed
        └────rejected────┴──► rejected           ▲                      │
                                                 └───────rejected───────┘

A step that the table does not know is kept and named, not applied. The order is that of the
steps' own times, so the case is a function of the set of what was told (law 3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from devices.ids import Identity, Instant
from devices.messages import Grade, HazardAction


class CaseState(StrEnum):
    """Where a hazard stands on its way from report to end."""

    REPORTED = "reported"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in-progress"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REJECTED = "rejected"

    @property
    def ended(self) -> bool:
        """Whether nobody has to act any more."""
        return self in {CaseState.CLOSED, CaseState.REJECTED}


STEPS: Mapping[tuple[CaseState, HazardAction], CaseState] = {
    (CaseState.REPORTED, HazardAction.ACCEPT): CaseState.ACCEPTED,
    (CaseState.REPORTED, HazardAction.PROGRESS): CaseState.IN_PROGRESS,
    # Whoever sets to work has taken it on, whether told or not, a major hazard too: a handheld may
    # lose a step. What closes it is that somebody finds it put right, and no grade goes past that.
    (CaseState.REPORTED, HazardAction.RESOLVED): CaseState.RESOLVED,
    (CaseState.REPORTED, HazardAction.REJECTED): CaseState.REJECTED,
    (CaseState.ACCEPTED, HazardAction.PROGRESS): CaseState.IN_PROGRESS,
    (CaseState.ACCEPTED, HazardAction.RESOLVED): CaseState.RESOLVED,
    (CaseState.ACCEPTED, HazardAction.REJECTED): CaseState.REJECTED,
    (CaseState.IN_PROGRESS, HazardAction.PROGRESS): CaseState.IN_PROGRESS,
    (CaseState.IN_PROGRESS, HazardAction.RESOLVED): CaseState.RESOLVED,
    (CaseState.RESOLVED, HazardAction.VERIFIED): CaseState.CLOSED,
    # Who verifies does not find it put right: the work goes on.
    (CaseState.RESOLVED, HazardAction.REJECTED): CaseState.IN_PROGRESS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A report, or a step taken in the handling of one. `at`: when, corrected where it was."""

    identity: str
    at: Instant
    action: HazardAction
    device: str
    person: str | None = None
    grade: Grade | None = None
    category: str | None = None
    text: str | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step that was applied, and the state it led to."""

    step: Step
    state: CaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A step that the case did not allow in `state`; kept for whoever asks."""

    step: Step
    state: CaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A hazard as it stands. `id`: the identity of its report; `closed_at`: when it ended."""

    id: str
    report: Step
    state: CaseState
    grade: Grade
    category: str | None
    reported_at: Instant
    closed_at: Instant | None
    taken: tuple[Taken, ...]
    refused: tuple[Refused, ...]


def fold(report: Step, steps: Iterable[Step]) -> Case:
    """The case of `report` after all `steps`, taken in the order of (at, device, epoch, seq).

    Of what a device did in one instant of its clock, the lower `seq` came first. The report comes
    first whatever its clock says. Grade and category are those last stated by the report or an
    applied step; a hazard without a grade is `general`.
    """
    others = {step.identity: step for step in steps if step.identity != report.identity}
    state, grade, category = CaseState.REPORTED, report.grade, report.category
    taken: list[Taken] = []
    refused: list[Refused] = []
    for step in sorted(others.values(), key=_order):
        following = STEPS.get((state, step.action))
        if following is None:
            refused.append(Refused(step=step, state=state))
            continue
        state = following
        grade, category = step.grade or grade, step.category or category
        taken.append(Taken(step=step, state=state))
    return Case(
        id=report.identity,
        report=report,
        state=state,
        grade=grade or Grade.GENERAL,
        category=category,
        reported_at=report.at,
        closed_at=taken[-1].step.at if state.ended else None,
        taken=tuple(taken),
        refused=tuple(refused),
    )


def _order(step: Step) -> tuple[Instant, Identity]:
    return step.at, Identity.parse(step.identity)
