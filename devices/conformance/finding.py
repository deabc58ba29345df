"""What a judge answers: what kept a clause, and what broke it, each as a line of evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from devices.conformance.trace import Trace


class Result(StrEnum):
    """How a clause came out. Nothing that bore on it is not the same as keeping it."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OBSERVED = "not-observed"


class Finding(NamedTuple):
    """Lines of evidence for and against. Neither: the clause was not observed."""

    kept: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def result(self) -> Result:
        """One breach fails a clause, whatever else kept it."""
        if self.broken:
            return Result.FAILED
        return Result.PASSED if self.kept else Result.NOT_OBSERVED


Judge = Callable[[Trace], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A clause of the contract: what it asks, in two languages, who judges it, how it is seen."""

    asks_en: str
    asks_zh: str
    judge: Judge
    see_en: str
    see_zh: str
