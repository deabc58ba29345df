"""OwnTracks' HTTP mode: a phone posts what it would publish, and keeps it until it is answered.

    POST /owntracks    Basic authentication; X-Limit-U and X-Limit-D, or ?u=…&d=…

The answer is the acknowledgement, so it comes after the commit: `[]`, an array of nothing to do.
Where nothing can be kept now there is none: the connection is closed, since older apps take any
status, even 503, for a delivery (owntracks.org/booklet/tech/http). The app posts it again, and a
copy is known by its key.

The login is the phone's own, as on the broker (`gridbeat device enroll`); it may speak for its own
address only, whatever its payload says. TLS is for the proxy in front (docs/readers.md).
"""

from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web

from devices.codec import MAX_RECORDS, Bad, array_elements

log = structlog.get_logger()

ASK = {"WWW-Authenticate": 'Basic realm="gridbeat"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phones:
    """`admits(address, username, password)`: whether that login is the phone's own and may speak.

    `take(topic, payloads)` commits them all; False where it could not.
    """

    admits: Callable[[str, str, str], Awaitable[bool]]
    take: Callable[[str, Sequence[bytes]], Awaitable[bool]]

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Take what a phone posted, an object or an array of them."""
        login = _login(request)
        if login is None:
            return web.Response(status=401, headers=ASK, text="log in as the device\n")
        username, password = login
        user = _said(request, "u", "X-Limit-U") or username
        address = f"{user}/{_said(request, 'd', 'X-Limit-D')}"
        if not await self.admits(address, username, password):
            log.warning("phone.refused", address=address, username=username)
            return web.Response(status=401, headers=ASK, text=f"not the login of {address}\n")
        payloads = _payloads(await request.read())
        if not payloads or await self.take(f"owntracks/{address}", payloads):
            return web.json_response([])
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


def _login(request: web.Request) -> tuple[str, str] | None:
    """User name and password of Basic authentication (RFC 7617), in UTF-8."""
    scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
    try:
        name, colon, password = b64decode(coded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if scheme.lower() == "basic" and colon else None


def _said(request: web.Request, name: str, header: str) -> str:
    """What the address says, or a header; the app sends both headers by itself."""
    return request.query.get(name, "") or request.headers.get(header, "")


def _payloads(body: bytes) -> Sequence[bytes]:
    """Each record by itself; what is no array is one. Nothing was said where a friend was deleted
    in the app."""
    if not body.strip():
        return ()
    if body.lstrip()[:1] != b"[":
        return (body,)
    found = array_elements(body)
    return (body,) if isinstance(found, Bad) or len(found) > MAX_RECORDS else found


async def _anybody(_address: str, _username: str, _password: str) -> bool:
    return True


async def _nothing(_topic: str, _payloads: Sequence[bytes]) -> bool:
    return False


NOBODY = Phones(admits=_anybody, take=_nothing)
"""While nobody is there to take anything: a standby."""
