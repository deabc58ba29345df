"""Tags that prove presence: their keys, who enrolled them, and what their writer needs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.errors import DeskError, UsageError
from devices import sdm
from devices.ids import normalize_tag
from devices.proofs import Enrolment
from devices.tagkeys import KEYS, Keyring, tag_key
from store import enrolments
from store.database import reading, writing
from store.enrolments import CHECKPOINT, SITE, TAG
from store.keyring import add_key, keyring, passphrase, write_private
from store.rows import EnrolmentRow
from store.settings import Settings
from store.walking import Filter, site_places

UID_DIGITS = 14
FACTORY_KEY = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is put on one tag, and where it hangs. No key is here.

    `before`: the enrolment whose keys are on it now; None: those of the factory.
    """

    uid: str
    site: str
    site_name: str
    checkpoint: str
    checkpoint_name: str
    asks: bool
    held: Enrolment
    before: Enrolment | None
    layout: sdm.Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """How many tags hold keys; which tags should and do not; which master keys are not here."""

    tags: int
    bare: tuple[str, ...]
    keys: tuple[int, ...]


def new_key(settings: Settings, *, by: By) -> int:
    """Make a new master key and return its version. Raises `DeskError`, `KeyringError`."""
    if settings.tag_master_keys is not None:
        raise DeskError(
            "GRIDBEAT_TAG_MASTER_KEYS goes over the file: a new key there would not be used",
            "take the variable away, or add the key to it",
        )
    return add_key(settings.tag_keys_file, passphrase(settings), by.now)


def enroll(engine: Engine, settings: Settings, uid: str, *, by: By) -> Sheet:
    """Give a checkpoint's tag new keys of the latest master key.

    Raises `DeskError` for a tag that hangs nowhere, or where there is no master key; then nothing
    has changed.
    """
    uid, ring = _uid(uid), keyring(settings)
    if ring.latest is None:
        raise DeskError("there is no master key yet", "gridbeat tag new-key")
    layout = _layout(settings.tag_url)
    with writing(engine) as connection:
        _place(connection, uid)
        try:
            enrolments.enroll(connection, uid, ring.latest, author=by.author, now=by.now)
        except enrolments.WornOut as error:
            raise DeskError(str(error), "put another tag there") from None
        return _sheet(connection, uid, layout)


def sheet(engine: Engine, settings: Settings, uid: str) -> Sheet:
    """The sheet of a tag that is enrolled, as of its newest enrolment. Raises `DeskError`."""
    uid, layout = _uid(uid), _layout(settings.tag_url)
    with reading(engine) as connection:
        return _sheet(connection, uid, layout)


def listed(engine: Engine, asked: Filter) -> Iterator[EnrolmentRow]:
    """Enrolments, of one site or all, that were made in a span. Raises `UnknownSite`."""
    site = None if asked.site is None else site_places(engine, asked.site)[0].slug
    with reading(engine) as connection:
        rows = list(enrolments.listed(connection))
    for row in rows:
        early = asked.since is not None and row.enrolled_at < asked.since
        late = asked.until is not None and row.enrolled_at >= asked.until
        if not early and not late and site in (None, row.site):
            yield row


def retire(engine: Engine, uid: str | None, key_version: int | None, *, by: By) -> Sequence[str]:
    """Have a tag, or all tags of a master key, prove nothing from now on.

    Raises `UsageError` where neither is named, `DeskError` where there is none.
    """
    if (uid is None) == (key_version is None):
        raise UsageError("which tags?", "gridbeat tag retire UID, or --key VERSION for all of it")
    named = None if uid is None else _uid(uid)
    with writing(engine) as connection:
        uids = enrolments.retire(connection, named, key_version, author=by.author, now=by.now)
    if not uids:
        raise DeskError("no such tag is enrolled", "gridbeat tag list has them")
    return uids


def write_keys(settings: Settings, of: Sheet, path: Path) -> None:
    """Write what the tag's writer needs, keys included, into a file for its owner alone (0600).

    Raises `DeskError` where the file is there already, or a master key is missing.
    """
    if path.exists():
        raise DeskError(f"{path} is there already", "name another file, or remove it")
    ring = keyring(settings)
    keys = _keys(ring, of.uid, of.held)
    old = [FACTORY_KEY] * KEYS if of.before is None else _keys(ring, of.uid, of.before)
    document = {
        "uid": of.uid,
        "ndef": of.layout.ndef.hex().upper(),
        "file": sdm.FILE_NUMBER,
        "file_settings": of.layout.settings.hex().upper(),
        "keys": [key.hex().upper() for key in keys],
        "keys_before": [key.hex().upper() for key in old],
        "key_version": of.held.key_version,
        "generation": of.held.generation,
    }
    write_private(path, json.dumps(document, indent=2).encode() + b"\n")


def _keys(ring: Keyring, uid: str, of: Enrolment) -> list[bytes]:
    master = ring.keys.get(of.key_version)
    if master is None:
        raise DeskError(
            f"master key {of.key_version} is not here", "restore it: docs/proof.md says from where"
        )
    return [tag_key(master, uid, number, of.generation) for number in range(KEYS)]


def _uid(text: str) -> str:
    uid = normalize_tag(text)
    if len(uid) != UID_DIGITS or not uid.startswith("04"):
        raise UsageError(
            f"{text!r} is no UID of such a tag", "write its seven bytes, as in 04A2B3C4D5E681"
        )
    return uid


def _layout(url: str) -> sdm.Layout:
    try:
        return sdm.layout(url)
    except ValueError as error:
        raise UsageError(f"tag_url: {error}", "gridbeat config show says where it is set") from None


def _place(connection: Connection, uid: str) -> Any:
    query = (
        select(
            SITE.c.slug.label("site"),
            SITE.c.name.label("site_name"),
            CHECKPOINT.c.slug.label("checkpoint"),
            CHECKPOINT.c.name.label("checkpoint_name"),
            CHECKPOINT.c.proof,
        )
        .join(CHECKPOINT, CHECKPOINT.c.id == TAG.c.checkpoint_id)
        .join(SITE, SITE.c.id == CHECKPOINT.c.site_id)
        .where(TAG.c.uid == uid, TAG.c.until.is_(None))
    )
    found = connection.execute(query).first()
    if found is None:
        bound = select(TAG.c.uid).where(TAG.c.until.is_(None), TAG.c.checkpoint_id.is_not(None))
        known = list(connection.execute(bound).scalars())
        near = get_close_matches(uid, known, n=3)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise DeskError(
            f"{uid} is no checkpoint's tag{hint}",
            "write it among a checkpoint's tags first, then: gridbeat registry apply FILE",
        )
    return found


def _sheet(connection: Connection, uid: str, layout: sdm.Layout) -> Sheet:
    place = _place(connection, uid)
    held = enrolments.enrolments(connection, uid).get(uid, ())
    if not held:
        raise DeskError(f"{uid} is not enrolled", f"gridbeat tag enroll {uid}")
    return Sheet(
        uid=uid,
        site=place.site,
        site_name=place.site_name,
        checkpoint=place.checkpoint,
        checkpoint_name=place.checkpoint_name,
        asks=place.proof is not None,
        held=held[0],
        before=held[1] if len(held) > 1 else None,
        layout=layout,
    )


def lacking(engine: Engine, settings: Settings) -> Lacking | None:
    """What keeps tags from proving presence; None where nobody asks them to.

    Raises `KeyringError` where the master keys cannot be read.
    """
    with reading(engine) as connection:
        asked = enrolments.asking(connection)
        held = enrolments.enrolments(connection)
    if not asked and not held:
        return None
    live = {uid: of[0] for uid, of in held.items() if of[0].retired_at is None}
    ring = keyring(settings)
    return Lacking(
        tags=len(live),
        bare=tuple(f"{uid} ({place})" for uid, place in asked.items() if uid not in live),
        keys=tuple(sorted({of.key_version for of in live.values()} - ring.keys.keys())),
    )


# The printed sheet --------------------------------------------------------------------------------


def as_json(of: Sheet) -> dict[str, Any]:
    """The sheet for scripts; no key is in it."""
    return {
        "uid": of.uid,
        "site": of.site,
        "checkpoint": of.checkpoint,
        "proof_asked": of.asks,
        "key_version": of.held.key_version,
        "generation": of.held.generation,
        "url": of.layout.template,
        "ndef": of.layout.ndef.hex().upper(),
        "picc_offset": of.layout.picc_offset,
        "mac_offset": of.layout.mac_offset,
        "file": sdm.FILE_NUMBER,
        "file_settings": of.layout.settings.hex().upper(),
    }


def as_lines(of: Sheet, lang: str) -> Iterator[str]:
    """The sheet as lines of plain text, to be fitted to a page."""
    words, made = _WORDS[lang], of.layout
    before = words.factory if of.before is None else words.earlier
    yield from words.sheet.format(
        of=of,
        made=made,
        file=sdm.FILE_NUMBER,
        before=before.format(of=of),
        picc=f"{made.picc_offset} (0x{made.picc_offset:02X})",
        mac=f"{made.mac_offset} (0x{made.mac_offset:02X})",
        ndef="\n".join(_hex(made.ndef)),
        settings="\n".join(_hex(made.settings)),
    ).splitlines()
    if not of.asks:
        yield words.asks_nothing.format(of=of)


class _Words(NamedTuple):
    """A sheet in one language, and what on it is not always the same."""

    sheet: str
    factory: str
    earlier: str
    asks_nothing: str


_WORDS = {
    "en": _Words(
        sheet="""\
Sheet for writing tag {of.uid}
place:  {of.site_name} ({of.site}) · {of.checkpoint_name} ({of.checkpoint})
keys:   master key version {of.held.key_version}, enrolment {of.held.generation}

1. Authenticate with key 0 (AuthenticateEV2First): {before}
2. Write file {file} (NDEF) from offset 0:
{ndef}
   that is the URL {made.template}
3. ChangeFileSettings of file {file}, data:
{settings}
   PICCDataOffset {picc}; SDMMACInputOffset and SDMMACOffset
   {mac}; UID and counter mirrored, ASCII; anybody reads, key 0 writes
4. ChangeKey: keys 1, 2, 3, 4, and key 0 last
   (1 makes the MAC, SDMFileRead; 2 hides the UID, SDMMetaRead; 3, 4 are not used)
5. Tap it with a phone: two strings stand in the URL; at the next tap, two others

No key is printed. The writer's file: gridbeat tag sheet {of.uid} --keys-to FILE
""",
        factory="the factory's, all zeros",
        earlier=(
            "that of enrolment {of.before.generation}; the factory's, if that was never written"
        ),
        asks_nothing=(
            "Note: checkpoint {of.checkpoint} does not ask for proof yet: write proof: sun there"
        ),
    ),
    "zh": _Words(
        sheet="""\
标签写入单  {of.uid}
位置：{of.site_name} ({of.site}) · {of.checkpoint_name} ({of.checkpoint})
密钥：主密钥第 {of.held.key_version} 版，本标签第 {of.held.generation} 次登记

1. 用 0 号密钥认证 (AuthenticateEV2First)：{before}
2. 写入 {file} 号文件 (NDEF)，自偏移 0 起：
{ndef}
   即网址 {made.template}
3. ChangeFileSettings，{file} 号文件，数据：
{settings}
   PICCDataOffset {picc}，SDMMACInputOffset 与 SDMMACOffset
   {mac}；UID 与计数镜像，ASCII；读取公开，改写须 0 号密钥
4. ChangeKey：1、2、3、4 号密钥，最后 0 号
   （1 号算动态验证码 SDMFileRead，2 号加密编号 SDMMetaRead，3、4 号不用）
5. 用手机碰一下：网址里应出现两串不同的字符；再碰一下，应与前次不同

密钥不打印。写卡程序所需的文件：gridbeat tag sheet {of.uid} --keys-to 文件
""",
        factory="出厂密钥，全 0",
        earlier="第 {of.before.generation} 次登记的密钥；那次未写入的，仍为出厂密钥",
        asks_nothing="注意：点位 {of.checkpoint} 尚未要求证明到场；登记文件中写 proof: sun",
    ),
}


def _hex(data: bytes, a_line: int = 24) -> Iterator[str]:
    for start in range(0, len(data), a_line):
        yield "   " + data[start : start + a_line].hex(" ").upper()
