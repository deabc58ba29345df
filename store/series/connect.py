"""Which series the settings name: its writer, and who answers the questions."""

from collections.abc import Callable

from sqlalchemy import Engine

from devices.ids import Instant
from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.ports import SeriesWriter
from store.series.questions import InfluxQuestions, LedgerQuestions, Questions
from store.settings import InfluxApi, Settings


def series_writer(settings: Settings) -> SeriesWriter | None:
    """The writer of the database that is set; None where none is."""
    if settings.influx_url is None:
        return None
    if settings.influx_api is InfluxApi.V1:
        return InfluxV1Writer(_client(settings), settings.influx_database)
    # influxdb-client takes half a second to import; v1 and the ledger do without.
    from store.series.influx_v2 import InfluxV2Writer  # noqa: PLC0415

    return InfluxV2Writer(
        settings.influx_url,
        bucket=settings.influx_bucket or "",
        org=settings.influx_org,
        token=_token(settings),
    )


def series_questions(
    settings: Settings, engine: Engine, *, now: Callable[[], Instant]
) -> Questions:
    """InfluxDB where one is set, else the ledger. For v2, the bucket is the database asked."""
    if settings.influx_url is None:
        return LedgerQuestions(engine, now=now)
    database = settings.influx_database
    if settings.influx_api is InfluxApi.V2:
        database = settings.influx_bucket or database
    return InfluxQuestions(_client(settings), database, now=now)


def _client(settings: Settings) -> InfluxV1Client:
    password = settings.influx_password
    return InfluxV1Client(
        settings.influx_url or "",
        username=settings.influx_username,
        password=None if password is None else password.get_secret_value(),
        token=_token(settings) if settings.influx_api is InfluxApi.V2 else None,
    )


def _token(settings: Settings) -> str | None:
    token = settings.influx_token
    return None if token is None else token.get_secret_value()
