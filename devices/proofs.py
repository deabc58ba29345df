"""What a read may prove, as values; `proving` finds it out. Nothing heavy is imported here."""

from enum import StrEnum
from typing import NamedTuple

from devices.ids import Instant


class Proof(StrEnum):
    """Whether a read proves that somebody stood there; if not, why not."""

    PROVEN = "proven"
    BARE = "bare"
    UNREADABLE = "unreadable"
    NOT_ENROLLED = "not-enrolled"
    NO_KEY = "no-key"
    OTHER_KEY = "other-key"
    OTHER_TAG = "other-tag"
    BAD_MAC = "bad-mac"
    RETIRED = "retired"
    REPLAYED = "replayed"


class Enrolment(NamedTuple):
    """A tag was given keys: those of a master key, for the `generation`-th time.

    What it says of `retired_at` and after proves nothing; None: it holds.
    """

    id: int
    generation: int
    key_version: int
    retired_at: Instant | None = None


class Proved(NamedTuple):
    """What one read proves. `asked`: the checkpoint that asks for proof, where it was read.

    `enrolment_id`, `ctr`: of a message whose MAC is right, even where it proves nothing any more.
    """

    proof: Proof
    asked: str | None
    enrolment_id: int | None = None
    ctr: int | None = None
