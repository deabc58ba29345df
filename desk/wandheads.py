"""Where the headings of an export are: below titles, in one row or in two one above the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from desk.errors import DeskError
from desk.sheets import Row
from desk.wandmaps import WandMap
from devices import wands
from devices.wands import Role

HEADER_WITHIN = 40
"""How far down the headings are looked for, below titles and dates of printing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the headings are: `row` their last row, `columns` by role the column's index.

    `unused`: headings of the columns that nothing is read from.
    """

    row: int
    columns: Mapping[Role, int]
    headings: Mapping[Role, str]
    unused: tuple[str, ...] = ()

    @property
    def persons(self) -> tuple[str, ...]:
        """Unused ones that look like persons', where no column is read as such."""
        if Role.PERSON in self.columns:
            return ()
        return tuple(filter(wands.personal, self.unused))


def find_header(rows: Sequence[Row], found: WandMap) -> Header:
    """The row, or the two rows one above the other, with the most headings that are known."""
    wanted = {role: found.headings(role) for role in Role}
    best: Header | None = None
    for index, (number, cells) in enumerate(rows[:HEADER_WITHIN]):
        above = rows[index - 1][1] if index else ()
        for upper in ((), above):
            columns = _columns(cells, upper, wanted)
            if not _enough(columns) or (best is not None and len(columns) <= len(best.columns)):
                continue
            names = {role: _name(cells, upper, column) for role, column in columns.items()}
            unused = _unused(cells, upper, columns)
            best = Header(row=number, columns=columns, headings=names, unused=unused)
    if best is None:
        raise DeskError(_no_header(rows, found), "gridbeat checkin map save NAME --column time=…")
    return best


def _columns(
    cells: Sequence[str], upper: Sequence[str], wanted: Mapping[Role, frozenset[str]]
) -> dict[Role, int]:
    width = max(len(cells), len(upper))
    found: dict[Role, int] = {}
    for row in (cells, upper):  # the lower heading goes before the one that spans several
        for column in range(width):
            name = wands.heading(row[column]) if column < len(row) else ""
            for role, names in wanted.items():
                if name in names and column not in found.values():
                    found.setdefault(role, column)
    return found


def _enough(columns: Mapping[Role, int]) -> bool:
    return Role.TIME in columns and (Role.PLACE in columns or Role.TAG in columns)


def _name(cells: Sequence[str], upper: Sequence[str], column: int) -> str:
    lower = cells[column] if column < len(cells) else ""
    return lower or (upper[column] if column < len(upper) else "")


def _unused(
    cells: Sequence[str], upper: Sequence[str], columns: Mapping[Role, int]
) -> tuple[str, ...]:
    others = (
        wands.heading(_name(cells, upper, column)) and _name(cells, upper, column).strip()
        for column in range(max(len(cells), len(upper)))
        if column not in columns.values()
    )
    return tuple(filter(None, others))


def _no_header(rows: Sequence[Row], found: WandMap) -> str:
    fullest = max(rows[:HEADER_WITHIN], key=lambda row: sum(map(bool, row[1])), default=None)
    there = "" if fullest is None else " · ".join(cell for cell in fullest[1] if cell)
    known = ", ".join(sorted(found.headings(Role.TIME)))
    return (
        "no row has a heading for the time and one for the place or tag: say which they are\n"
        f"  row {fullest[0] if fullest else 1} holds: {there[:200]}\n"
        f"  a time may be called: {known[:200]}"
    )
