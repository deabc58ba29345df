"""OwnTracks' HTTP mode: who may post, what is answered, and when."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ingest.health import Health
from ingest.http import AddressRefused, serving
from ingest.phones import NOBODY, Phones
from store.addresses import HttpAddress
from tests.servers import free_port


def login(name: str, password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(name, password)}


LOGIN = login("phone-17", "secret")
NAMED = {"X-Limit-U": "guard17", "X-Limit-D": "phone"}
SAID = {"_type": "status"}


class Ledger:
    """What was posted; `kept` is what it answers."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Sequence[bytes]]] = []
        self.kept = True
        self.committing = asyncio.Event()
        self.committing.set()

    async def admits(self, address: str, username: str, password: str) -> bool:
        return (address, username, password) == ("guard17/phone", "phone-17", "secret")

    async def take(self, topic: str, payloads: Sequence[bytes]) -> bool:
        self.posted.append((topic, payloads))
        await self.committing.wait()
        return self.kept


@asynccontextmanager
async def posting(phones: Phones) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    address = HttpAddress(host="127.0.0.1", port=free_port())
    async with (
        serving(address, Health(), lambda: 0, phones),
        aiohttp.ClientSession() as client,
    ):
        yield client, f"http://127.0.0.1:{address.port}/owntracks"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def phones(ledger: Ledger) -> Phones:
    return Phones(admits=ledger.admits, take=ledger.take)


async def test_a_phone_is_answered_once_what_it_said_is_kept(ledger, phones):
    """The answer, an array of nothing to do, comes after the commit and not before."""
    ledger.committing.clear()
    async with posting(phones) as (client, url):
        answer = asyncio.create_task(client.post(url, json=SAID, headers=LOGIN | NAMED))
        async with asyncio.timeout(10):
            while not ledger.posted:
                await asyncio.sleep(0)
        assert not answer.done()
        ledger.committing.set()
        done = await answer
        assert (done.status, await done.json()) == (200, [])
    assert ledger.posted == [("owntracks/guard17/phone", (json.dumps(SAID).encode(),))]


async def test_an_array_is_taken_one_by_one(ledger, phones):
    """What a phone had queued may come at once; nothing said is nothing to keep."""
    async with posting(phones) as (client, url):
        many = await client.post(url, data=b'[{"a":1}, {"b":2}]', headers=LOGIN | NAMED)
        none = await client.post(url, data=b"", headers=LOGIN | NAMED)
        assert [many.status, none.status] == [200, 200]
    assert ledger.posted == [("owntracks/guard17/phone", [b'{"a":1}', b'{"b":2}'])]


@pytest.mark.parametrize(
    "headers",
    [
        NAMED,
        NAMED | login("phone-17", "wrong"),
        NAMED | LOGIN | {"X-Limit-U": "guard18"},
        LOGIN,
        NAMED | {"Authorization": "Basic !"},
        NAMED | {"Authorization": "Bearer cGhvbmUtMTc6c2VjcmV0"},
        NAMED | LOGIN | {"X-Limit-D": "../phone2"},
    ],
)
async def test_nobody_posts_for_another(ledger, phones, headers):
    """Without the phone's own login, or under another's address, nothing is taken."""
    async with posting(phones) as (client, url):
        refused = await client.post(url, json=SAID, headers=headers)
        assert refused.status == 401
        assert "Basic" in refused.headers["WWW-Authenticate"]
    assert ledger.posted == []


async def test_the_address_may_stand_in_the_url(ledger, phones):
    """As the app writes it where its headers are lost on the way: `?u=…&d=…`."""
    async with posting(phones) as (client, url):
        taken = await client.post(f"{url}?u=guard17&d=phone", json=SAID, headers=LOGIN)
        assert taken.status == 200
    assert [topic for topic, _ in ledger.posted] == ["owntracks/guard17/phone"]


@pytest.mark.parametrize("standby", [False, True])
async def test_what_cannot_be_kept_is_not_answered(ledger, phones, standby):
    """Any status is a delivery to older apps: the connection is closed, and the phone keeps it."""
    ledger.kept = False
    async with posting(NOBODY if standby else phones) as (client, url):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post(url, json=SAID, headers=LOGIN | NAMED)


async def test_too_much_at_once_is_refused(ledger, phones):
    """More than a message of the contract may hold is none of OwnTracks'."""
    async with posting(phones) as (client, url):
        body = b" " * (256 * 1024 + 1)
        refused = await client.post(url, data=body, headers=LOGIN | NAMED)
        assert refused.status == 413
    assert ledger.posted == []


async def test_an_address_that_is_taken_is_named() -> None:
    """Where another program listens already, the message names the setting and what to do."""
    address = HttpAddress(host="127.0.0.1", port=free_port())
    async with serving(address, Health(), lambda: 0):
        with pytest.raises(
            AddressRefused, match=f"http_address 127.0.0.1:{address.port} .*HTTP_ADDR"
        ):
            async with serving(address, Health(), lambda: 0):
                pass
