"""The doctor's look at trust: the broker's files, its certificates, tags that prove presence."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from desk import broker, tls
from desk.checks import Check, State, few
from desk.errors import DeskError
from desk.settling import agrees, strangers
from desk.tags import lacking
from devices.ids import Instant
from store.keyring import KeyringError
from store.settings import Settings

_STRANGERS = "gridbeat device enroll ID --renew, or take the line out of broker/passwd"
_RENEW = "gridbeat tls renew; where the authority itself ends, `tls init` anew for every device"
_TRUST = "see that it runs, that its certificate names this host, and mqtt_ca_file its authority"


def certificates(settings: Settings, wall: Instant) -> Iterator[Check]:
    """How long the certificates hold: the broker's own files, and what it really shows."""
    folder, address = settings.broker_dir / broker.TLS_FOLDER, settings.mqtt_url
    for path in (folder / tls.CERT, folder / tls.CA_CERT):
        if path.exists():
            try:
                yield _until(str(path), tls.inspect(path).not_after, wall)
            except DeskError as error:
                yield Check(what="tls", state=State.WRONG, detail=str(error), remedy=error.remedy)
    if address.tls:
        try:
            ends = tls.served(address.host, address.port, settings.mqtt_ca_file)
        except OSError as error:
            yield Check(what="tls", state=State.WRONG, detail=f"{address}: {error}", remedy=_TRUST)
        else:
            yield _until(f"what {address.host}:{address.port} shows", ends, wall)


def _until(what: str, ends: Instant, wall: Instant) -> Check:
    days = (ends - wall) // 86_400_000
    if ends <= wall:
        detail = f"{what} ended {-days} days ago: devices that look at it stay away"
        return Check(what="tls", state=State.WRONG, detail=detail, remedy=_RENEW)
    detail = f"{what} holds for {days} days"
    if days >= tls.RENEW_DAYS:
        return Check(what="tls", state=State.OK, detail=detail)
    state = State.WRONG if days < tls.URGENT_DAYS else State.WARN
    return Check(what="tls", state=state, detail=detail, remedy=_RENEW)


def access(engine: Engine, folder: Path) -> Iterator[Check]:
    """Whether the broker's files, where they are ours, let in whom the ledger lets in."""
    if not (folder / broker.PASSWORDS).exists():
        return
    if not agrees(engine, folder):
        detail = f"{folder} does not say what the ledger says of who may speak"
        yield Check(what="access", state=State.WRONG, detail=detail, remedy="gridbeat broker sync")
    if unknown := strangers(engine, folder):
        detail = f"passwords the ledger knows nothing of ({len(unknown)}): {few(unknown)}"
        yield Check(what="access", state=State.WARN, detail=detail, remedy=_STRANGERS)


def tags(engine: Engine, settings: Settings) -> Iterator[Check]:
    """Whether tags that are to prove presence can: else rounds are not done however one walks."""
    remedy, state = "docs/proof.md says how to get it back", State.WRONG
    try:
        found = lacking(engine, settings)
    except KeyringError as error:
        yield Check(what="tags", state=state, detail=str(error), remedy=remedy)
        return
    if found is None:
        return
    if found.keys:
        detail = f"master key {', '.join(map(str, found.keys))} is not here: its tags prove nothing"
    elif found.bare:
        detail = f"{len(found.bare)} should prove presence and have no keys: {few(found.bare)}"
        remedy, state = "gridbeat tag enroll UID, and write the tag", State.WARN
    else:
        detail = f"{found.tags} prove presence, and their master keys are here"
        yield Check(what="tags", state=State.OK, detail=detail)
        return
    yield Check(what="tags", state=state, detail=detail, remedy=remedy)
