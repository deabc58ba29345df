"""What the writers do with every answer a server can give."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from store.series.halving import HalvingWriter
from store.series.http import LONGEST_WAIT_S
from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.influx_v2 import InfluxV2Writer
from store.series.ports import (
    MAX_LINES,
    PartialWrite,
    Permanent,
    Retryable,
    SeriesWriter,
    TooLarge,
)
from tests.servers import Server, free_port, influxd
from tests.store.series.conftest import Series
from tests.store.series.fake_server import Fake, fake_influx
from tests.store.series.ledgers import NOON
from tests.store.series.memory import MemoryWriter

LINE = f'checkin,site=school-01 event_id="hh-0101/0/17",seq=17i {NOON}000000'
Make = Callable[[str], SeriesWriter]


def v1(url: str) -> SeriesWriter:
    return InfluxV1Writer(InfluxV1Client(url, timeout_s=0.3), "gridbeat")


def v2(url: str) -> SeriesWriter:
    return InfluxV2Writer(url, bucket="gridbeat", org="school", token="s3cret", timeout_s=0.3)


both = pytest.mark.parametrize("make", [v1, v2], ids=["v1", "v2"])


@asynccontextmanager
async def talking(
    make: Make, answer: Callable[[web.Request], web.Response | None]
) -> AsyncIterator[tuple[Fake, SeriesWriter]]:
    async with fake_influx(answer) as fake:
        writer = make(fake.url)
        try:
            yield fake, writer
        finally:
            await writer.close()


def says(status: int, body: str = "", **headers: str) -> Callable[[web.Request], web.Response]:
    return lambda request: web.Response(
        status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


@both
async def test_accepted_lines_are_sent_whole(make: Make) -> None:
    """204 is the only yes; the body is the lines, gzipped, in UTF-8."""
    async with talking(make, says(204)) as (fake, writer):
        await writer.write([LINE, 'event,site=all subject="保安甲" 1'])
    assert fake.bodies == [f'{LINE}\nevent,site=all subject="保安甲" 1']
    assert fake.headers[0]["Content-Encoding"] == "gzip"


async def test_credentials_go_into_headers() -> None:
    """Passwords and tokens stand in headers, where no access log writes them down."""
    async with fake_influx(says(204)) as fake:
        client = InfluxV1Client(fake.url, username="保安", password="s3cret")
        await InfluxV1Writer(client, "gridbeat").write([LINE])
        await client.close()
        writer = v2(fake.url)
        await writer.write([LINE])
        await writer.close()
    assert [headers["Authorization"].split()[0] for headers in fake.headers] == ["Basic", "Token"]
    assert fake.headers[1]["Authorization"] == "Token s3cret"


ANSWERS = [
    (500, Retryable),
    (503, Retryable),
    (429, Retryable),
    (408, Retryable),
    (413, TooLarge),
    (400, PartialWrite),
    (422, PartialWrite),
    (401, Permanent),
    (403, Permanent),
    (404, Permanent),
    (405, Permanent),
    (200, Permanent),
    (302, Permanent),
]


@both
@pytest.mark.parametrize(("status", "kind"), ANSWERS)
async def test_each_answer_has_one_meaning(make: Make, status: int, kind: type[Exception]) -> None:
    """The status decides what follows; the message repeats the server's words, but no secret."""
    answer = says(status, '{"message": "because", "error": "because"}', Location="/elsewhere")
    async with talking(make, answer) as (fake, writer):
        with pytest.raises(kind) as raised:
            await writer.write([LINE])
    assert status == 200 or "because" in str(raised.value)
    assert fake.url in str(raised.value)
    assert "s3cret" not in str(raised.value)


@both
async def test_an_endless_answer_is_not_read_whole(make: Make) -> None:
    """A refusal that quotes every line is cut to what a log can bear."""
    async with talking(make, says(400, "unable to parse " * 100_000)) as (_, writer):
        with pytest.raises(PartialWrite) as raised:
            await writer.write([LINE])
    assert len(str(raised.value)) < 500


def in_two_minutes() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)


@both
@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        ("in two minutes", 110, 120),
        ("99999999", LONGEST_WAIT_S, LONGEST_WAIT_S),
        ("soon", None, None),
        ("-5", None, None),
    ],
)
async def test_retry_after_is_honoured(
    make: Make, said: str, least: float | None, most: float | None
) -> None:
    """Seconds and dates both count, an hour at most; what is neither is as if unsaid."""
    value = in_two_minutes() if said == "in two minutes" else said
    async with talking(make, says(429, Retry_After=value)) as (_, writer):
        with pytest.raises(Retryable) as raised:
            await writer.write([LINE])
    after = raised.value.after_s
    assert after is least if least is None else least <= (after or 0) <= (most or 0)


@both
async def test_a_server_that_hangs_is_given_up(make: Make) -> None:
    """No answer within the timeout is an outage, not an end."""
    async with talking(make, lambda request: None) as (_, writer):
        with pytest.raises(Retryable, match="in time"):
            await writer.write([LINE])


@both
async def test_a_server_that_is_not_there(make: Make) -> None:
    """A refused connection is an outage, and the message names the address."""
    port = free_port()
    writer = make(f"http://127.0.0.1:{port}")
    with pytest.raises(Retryable, match=str(port)):
        await writer.write([LINE])
    await writer.close()
    await writer.close()


async def test_a_remedy_for_every_refusal() -> None:
    """What only a person can mend is told with the setting or the right to change."""
    remedies = {
        401: "GRIDBEAT_INFLUX_TOKEN",
        403: "right to write",
        404: "GRIDBEAT_INFLUX_BUCKET",
        302: "GRIDBEAT_INFLUX_URL",
        200: "GRIDBEAT_INFLUX_URL",
    }
    for status, remedy in remedies.items():
        async with talking(v2, says(status, Location="/")) as (_, writer):
            with pytest.raises(Permanent, match=remedy):
                await writer.write([LINE])


# The same suite over memory and a real InfluxDB ---------------------------------------------------


def numbered(count: int) -> list[str]:
    return [f"checkin,site=school-01 seq={n}i {NOON + n}000000" for n in range(count)]


async def test_writing_twice_is_writing_once(series: Series) -> None:
    """A caller who does not know whether a write went through writes it again."""
    for _ in range(2):
        await series.writer.write(numbered(50))
    assert await series.count("checkin") == 50


async def test_one_bad_line_among_five_thousand(series: Series) -> None:
    """Every good line is kept, and the bad one alone is named, with the reason."""
    lines = numbered(MAX_LINES)
    lines[3_217] = "checkin,site=school-01 seq=,x 1"
    with pytest.raises(PartialWrite) as raised:
        await HalvingWriter(series.writer).write(lines)
    assert [reject.line for reject in raised.value.rejected] == [lines[3_217]]
    assert raised.value.rejected[0].error
    assert raised.value.accepted == MAX_LINES - 1
    assert await series.count("checkin") == MAX_LINES - 1


async def test_no_lines_only_ask(series: Series) -> None:
    """Writing nothing succeeds where writing is allowed, and finds nothing to halve."""
    await HalvingWriter(series.writer).write([])
    assert await series.count("checkin") == 0


# Halving -----------------------------------------------------------------------------------------


async def test_a_request_too_large_is_halved() -> None:
    """A server that takes 100 lines at once gets them all."""
    memory = MemoryWriter(most_lines=100)
    await HalvingWriter(memory).write(numbered(1_000))
    assert memory.count("checkin") == 1_000


async def test_a_single_line_too_large_is_rejected() -> None:
    """What cannot be made smaller is kept with its reason, and the others go through."""

    def refuse(lines: list[str]) -> None:
        if any("seq=3i" in line for line in lines):
            raise TooLarge("413")

    memory = MemoryWriter()
    memory.before_write = refuse  # type: ignore[assignment]
    with pytest.raises(PartialWrite) as raised:
        await HalvingWriter(memory).write(numbered(8))
    assert [reject.line for reject in raised.value.rejected] == [numbered(8)[3]]
    assert memory.count("checkin") == 7


async def test_an_outage_in_the_middle_of_halving_is_an_outage() -> None:
    """Nothing is called bad because the server went away while we looked for the bad line."""
    memory = MemoryWriter()

    def fall_over(lines: object) -> None:
        if memory.requests == 4:
            raise Retryable("down")

    memory.before_write = fall_over
    with pytest.raises(Retryable):
        await HalvingWriter(memory).write([*numbered(64), "garbage"])


async def test_points_older_than_the_server_keeps_are_refused_at_once(
    client: InfluxV1Client, database: str
) -> None:
    """When the server says that it dropped them all, nobody looks for a good one among them."""
    writer = InfluxV1Writer(client, database)
    await writer.write([])
    policy = f'CREATE RETENTION POLICY "short" ON "{database}" DURATION 1h REPLICATION 1 DEFAULT'
    await client.query(policy)
    with pytest.raises(PartialWrite, match="retention policy") as raised:
        await writer.write([line.replace(str(NOON)[:4], "1000") for line in numbered(20)])
    assert raised.value.accepted == 0


@pytest.mark.influx
async def test_a_full_database_is_no_fault_of_a_line() -> None:
    """At its limit InfluxDB answers 400 as to a bad line; nothing is rejected, and the remedy is
    said."""
    with influxd(data="max-series-per-database = 2") as server:
        writer = InfluxV1Writer(InfluxV1Client(server.url), "full")
        lines = [LINE.replace("school-01", f"school-{number:02}") for number in range(6)]
        assert len(set(lines)) == 6
        await writer.write(lines[:2])
        with pytest.raises(Permanent, match="Raise max-series-per-database"):
            await HalvingWriter(writer).write(lines)
        await writer.close()


# The real servers --------------------------------------------------------------------------------


async def test_the_database_is_created_when_it_is_missing(series: Series) -> None:
    """A new InfluxDB needs no preparation, nor does one whose database was dropped."""
    await series.writer.write(numbered(1))
    if series.client is not None:
        await series.client.query(f'DROP DATABASE "{series.database}"')
    await series.writer.write(numbered(2))
    assert await series.count("checkin") == 2


@pytest.mark.influx
async def test_rights_that_are_missing_are_named() -> None:
    """Without the right to create, or to write, the message says what to run or to grant."""
    with influxd(auth=True) as server:
        admin = InfluxV1Client(server.url, username="admin", password="p")
        await admin.query("CREATE USER admin WITH PASSWORD 'p' WITH ALL PRIVILEGES")
        await admin.query("CREATE USER guard WITH PASSWORD 'p'")
        guard = InfluxV1Client(server.url, username="guard", password="p")
        writer = InfluxV1Writer(guard, 'a "b')
        with pytest.raises(Permanent, match="CREATE DATABASE"):
            await writer.write([LINE])
        await InfluxV1Writer(admin, 'a "b').write([LINE])
        with pytest.raises(Permanent, match="right to write"):
            await writer.write([LINE])
        stranger = InfluxV1Client(server.url, username="guard", password="wrong")
        with pytest.raises(Permanent, match="GRIDBEAT_INFLUX_PASSWORD"):
            await InfluxV1Writer(stranger, 'a "b').write([LINE])
        for client in (admin, guard, stranger):
            await client.close()


async def test_odd_characters_survive_the_real_parser(
    client: InfluxV1Client, database: str
) -> None:
    """What our own small parser reads back, InfluxDB does too."""
    from store.series import lines

    category = "a \"b\", c='d' 火警 # \\ e\\"
    subject = 'say "no" \\ to \\" all\\\\ 火'
    hazard = lines.HazardPoint(
        site="school-01",
        reported_category=category,
        category=category,
        hazard_id=subject,
        reported_at=NOON,
        state="reported",
        grade="major",
        is_open=True,
        is_overdue=False,
        age_ms=0,
    )
    await InfluxV1Writer(client, database).write([lines.hazard(hazard)])
    (series,) = await client.query(
        'SELECT "hazard_id", "category", "category_now" FROM "hazard"', database
    )
    assert series["values"] == [[NOON, subject, category.replace("\\", "_"), category]]


async def test_victoria_metrics_takes_the_v2_writer(victoria_metrics: Server) -> None:
    """The v2 path is accepted by a real server and its numbers can be asked for."""
    writer = InfluxV2Writer(victoria_metrics.url, bucket="gridbeat")
    await writer.write([])
    await HalvingWriter(writer).write(numbered(100))
    await writer.close()
    reader = InfluxV1Client(victoria_metrics.url)
    span = {"match[]": 'checkin_seq{site="school-01"}', "start": "0"}
    await reader.post("/internal/force_flush", {}, None, limit=0)
    exported = (await reader.post("/api/v1/export", span, None, limit=1_000_000)).said
    await reader.close()
    assert f"{NOON + 99}" in exported
