"""What a time-series database is to us, and the errors that say what to do next."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MAX_LINES = 5_000
"""Lines in one request, as InfluxDB advises (facts, section InfluxDB)."""


class Reject(NamedTuple):
    """A line the database will never take, and its words."""

    line: str
    error: str


class SeriesError(Exception):
    """The time-series database did not do what it was asked; the kinds below say what follows."""


class Retryable(SeriesError):  # noqa: N818  (named by what follows)
    """The database is down, slow or busy. Nothing to do: it is tried again until it answers.

    If this lasts, see that InfluxDB runs and that GRIDBEAT_INFLUX_URL names its host and port.
    `after_s`: the seconds the server asked us to wait, None when it did not say.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Permanent(SeriesError):  # noqa: N818  (named by what follows)
    """The database refuses us as we are set up; the message names the setting or right to change.

    Nothing is lost: the ledger keeps everything, and feeding goes on by itself once it is mended.
    """


class TooLarge(SeriesError):  # noqa: N818  (named by what follows)
    """The request is larger than the server takes: send fewer lines at once.

    For a single line there is nothing less: it goes to `series_reject`.
    """


class PartialWrite(SeriesError):  # noqa: N818  (named by what follows)
    """Some lines were refused for good; the good ones may be in. See `series_reject` for the bad.

    `accepted`: how many lines the server kept, None when it did not say. `rejected`: the bad lines,
    empty as long as it is not known which they are.
    """

    def __init__(
        self, message: str, *, accepted: int | None = None, rejected: Sequence[Reject] = ()
    ) -> None:
        super().__init__(message)
        self.accepted = accepted
        self.rejected = tuple(rejected)


class SeriesWriter(Protocol):
    """Takes lines of line protocol with times in nanoseconds.

    Writing a line twice is writing it once, so a caller who does not know writes again.
    """

    async def write(self, lines: Sequence[str]) -> None:
        """Return once every line is kept. At most `MAX_LINES`, each without a line break.

        Raises `Retryable`, `Permanent`, `TooLarge` or `PartialWrite`. No lines at all only asks
        whether writing would be allowed.
        """

    async def close(self) -> None:
        """Let go of the connection. Closing twice is harmless."""
