"""What the writer remembers beside the tables, so that a live check-in costs no question."""

from dataclasses import dataclass, field

from store.arrivals import ArrivalBook
from store.coverages import CoverageBook
from store.doubts import MarkBook
from store.holdings import HolderBook
from store.presence import PresenceBook
from store.quarantine import QuarantineBook
from store.skews import SkewBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Used by the ledger's writer thread alone, within its transaction."""

    arrivals: ArrivalBook
    coverage: CoverageBook = field(default_factory=CoverageBook)
    presence: PresenceBook = field(default_factory=PresenceBook)
    quarantine: QuarantineBook = field(default_factory=QuarantineBook)
    skews: SkewBook = field(default_factory=SkewBook)
    marks: MarkBook = field(default_factory=MarkBook)
    holders: HolderBook = field(default_factory=HolderBook)

    def forget(self) -> None:
        """The transaction did not commit: what it taught is dropped, or read again."""
        for book in (
            self.arrivals,
            self.coverage,
            self.presence,
            self.quarantine,
            self.skews,
            self.marks,
            self.holders,
        ):
            book.forget()
