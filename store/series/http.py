"""What the answers of an InfluxDB mean, whatever library carried the request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from store.series.ports import PartialWrite, Permanent, Retryable, SeriesError, TooLarge

KEPT_OF_AN_ANSWER = 4_096
"""Bytes of an error's body that are read: InfluxDB quotes the lines it refuses, all of them."""

SHOWN_OF_AN_ANSWER = 300
"""Characters of it that an error message repeats."""

LONGEST_WAIT_S = 3_600.0
"""A server that asks for more is asked again after an hour all the same."""

NETWORK_ERRORS = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)

_DROPPED = re.compile(r"dropped=(\d+)")

_FULL = re.compile(r"(\S+) limit exceeded")
"""`max-series-per-database limit exceeded: (N) dropped=2`: InfluxDB 1 says it with a 400, as of a
line it cannot read. No line is wrong: all of them can be written once there is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer: `said` is the beginning of its body."""

    status: int
    said: str
    headers: Mapping[str, str]
    now: datetime


def unreachable(url: str, cause: BaseException) -> Retryable:
    """The error for a request that got no answer."""
    reason = "it did not answer in time" if isinstance(cause, TimeoutError) else str(cause)
    return Retryable(f"cannot reach InfluxDB at {url}: {reason or type(cause).__name__}")


def refusal(answer: Answer, url: str, lines: int) -> SeriesError:
    """The error an answer other than success stands for. `lines`: how many were sent."""
    said = " ".join(answer.said.split())[:SHOWN_OF_AN_ANSWER]
    where = f"InfluxDB at {url} answered {answer.status}" + (f": {said}" if said else "")
    full = _FULL.search(answer.said)
    match answer.status:
        case 400 if full is not None:
            return Permanent(
                f"{where}. Raise {full.group(1)} in its configuration (0: no limit) and restart "
                "it, or drop what it need not keep; what is missing is written then."
            )
        case 400 | 422:
            return PartialWrite(where, accepted=_accepted(answer.said, lines))
        case 413:
            return TooLarge(where)
        case 408 | 429:
            return Retryable(where, retry_after(answer))
        case status if status >= 500:
            return Retryable(where, retry_after(answer))
    return Permanent(f"{where}. {_remedy(answer.status)}")


def retry_after(answer: Answer) -> float | None:
    """Seconds the server asked to be left alone: a number or a date (RFC 9110, 10.2.3)."""
    said = next((v for k, v in answer.headers.items() if k.lower() == "retry-after"), None)
    if said is None:
        return None
    if said.strip().isdigit():
        return min(float(said), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - answer.now).total_seconds(), 0.0), LONGEST_WAIT_S)


def _accepted(said: str, lines: int) -> int | None:
    """0 where the server says that it dropped them all, as with points older than it keeps."""
    dropped = _DROPPED.search(said)
    return 0 if dropped and int(dropped.group(1)) == lines else None


def _remedy(status: int) -> str:
    match status:
        case 401:
            return (
                "Set GRIDBEAT_INFLUX_USERNAME and GRIDBEAT_INFLUX_PASSWORD (v1) or "
                "GRIDBEAT_INFLUX_TOKEN (v2) to ones it knows."
            )
        case 403:
            return "Give this user or token the right to write there."
        case 404:
            return (
                "Create the database or bucket, correct GRIDBEAT_INFLUX_DATABASE or "
                "GRIDBEAT_INFLUX_BUCKET, or change GRIDBEAT_INFLUX_API: "
                "InfluxDB 1 before 1.8 knows v1 only."
            )
        case status if 300 <= status < 400:
            return "It sends us elsewhere: set GRIDBEAT_INFLUX_URL to the address itself."
        case status if 200 <= status < 300:
            return "An InfluxDB would say 204: see that GRIDBEAT_INFLUX_URL names one."
    return "See that GRIDBEAT_INFLUX_URL and GRIDBEAT_INFLUX_API fit this server."
