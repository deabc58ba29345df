"""Settings decide where points go and who answers."""

from pathlib import Path
from typing import Any

import pytest

from store.series.connect import series_questions, series_writer
from store.series.influx import InfluxV1Writer
from store.series.influx_v2 import InfluxV2Writer
from store.series.questions import InfluxQuestions, LedgerQuestions
from store.settings import Settings
from tests.store.series.fake_server import fake_influx
from tests.store.series.ledgers import NOON, Ledger
from tests.store.series.test_writers import LINE, says

V2 = {"influx_api": "v2", "influx_bucket": "school", "influx_org": "o", "influx_token": "s3cret"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of this machine is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDBEAT_CONFIG", raising=False)


def test_without_an_address_the_ledger_answers(ledger: Ledger) -> None:
    """No InfluxDB is a way to run, not a fault."""
    settings = Settings()
    assert series_writer(settings) is None
    questions = series_questions(settings, ledger.engine, now=lambda: NOON)
    assert isinstance(questions, LedgerQuestions)


@pytest.mark.parametrize(
    ("told", "kind", "path", "authorization"),
    [
        ({}, InfluxV1Writer, "/write", None),
        ({"influx_username": "u", "influx_password": "p"}, InfluxV1Writer, "/write", "Basic dTpw"),
        (V2, InfluxV2Writer, "/api/v2/write", "Token s3cret"),
    ],
)
async def test_the_api_that_is_set_is_spoken(
    ledger: Ledger, told: dict[str, Any], kind: type, path: str, authorization: str | None
) -> None:
    """Writes go to the version's endpoint, questions to `/query`, both with the credentials."""
    async with fake_influx(says(204)) as fake:
        settings = Settings(influx_url=fake.url, **told)
        writer = series_writer(settings)
        assert isinstance(writer, kind)
        assert writer is not None
        await writer.write([LINE])
        fake.answer = says(200, '{"results":[{"statement_id":0}]}')
        questions = series_questions(settings, ledger.engine, now=lambda: NOON)
        assert isinstance(questions, InfluxQuestions)
        assert await questions.site_state_now(None) == []
        await questions.close()
        await writer.close()
    assert fake.paths == [path, "/query"]
    assert [headers.get("Authorization") for headers in fake.headers] == [authorization] * 2
