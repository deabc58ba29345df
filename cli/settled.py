"""What became of a decision about who may speak: said, and the exit code."""

from typing import TYPE_CHECKING

import typer

from cli.failure import FAILED, UNREACHABLE
from cli.output import note

if TYPE_CHECKING:
    from desk.settling import Settled

CODES = {"live": 0, "written": 0, "left": FAILED, "untold": UNREACHABLE, "unwritten": FAILED}
"""By `desk.settling.Reach`. A broker that does not run will go by its files: nothing has failed."""


def end(settled: "Settled") -> None:
    """Say what stands against it. A decision that has not come through ends the command as failed,
    whatever else it did.
    """
    if settled.remark is not None:
        note(settled.remark)
    if code := CODES[settled.reach]:
        raise typer.Exit(code)
