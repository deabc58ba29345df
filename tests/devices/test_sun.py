"""Proof of presence: the published vectors, what fails and why, and that nothing ever raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.proofs import Proof
from devices.sun import Mirrored, SunKeys, Tap, cmac, parse, verify
from devices.tagkeys import Keyring, MasterKey, diversified, sun_keys, tag_key
from tests.devices.golden import CONTRACT

FILE = json.loads((CONTRACT / "vectors" / "sun.json").read_text("utf-8"))
VECTORS = [pytest.param(vector, id=vector["name"]) for vector in FILE["vectors"]]
ZERO = SunKeys(meta=bytes(16), file=bytes(16))
FRESH = "picc_data=EF963FF7828658A599F3041510671E88&cmac=94EED9EE65337086"
WITH_DATA = (
    "picc_data=FD91EC264309878BE6345CBE53BADF40"
    "&enc=CEE9A53E3E463EF1F459635736738962&cmac=ECC1E7F6C6C73BF6"
)
ANY = st.characters(exclude_categories=())
"""Lone surrogates too."""
PLAIN = "uid=041E3C8A2D6B80&ctr=000006&cmac=4B00064004B0B3D3"


def query(vector: dict[str, Any]) -> str:
    """The query string as the tag of a vector mirrors it."""
    if vector["mode"] == "plain":
        return f"uid={vector['uid']}&ctr={vector['ctr_text']}&cmac={vector['mac']}"
    enc = f"&enc={vector['enc']}{vector['lit']}" if vector["enc"] else "&cmac="
    return f"picc_data={vector['picc']}{enc}{vector['mac']}"


def read(text: str, keys: SunKeys = ZERO) -> Tap | Proof:
    """What a query string proves."""
    mirrored = parse(text)
    return Proof.UNREADABLE if mirrored is None else verify(mirrored, keys)


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors_verify_or_fail_as_they_say(vector: dict[str, Any]) -> None:
    """NXP's own examples, and those of public servers: UID, counter, file data, or a bad MAC."""
    meta = bytes.fromhex(vector.get("meta", "00" * 16))
    found = read(query(vector), SunKeys(meta=meta, file=bytes.fromhex(vector["file"])))
    if not vector["ok"]:
        assert found is Proof.BAD_MAC
        return
    data = vector.get("data", "").encode()
    assert found == Tap(vector["uid"], vector["ctr"], data)


@pytest.mark.parametrize("text", [FRESH, WITH_DATA, PLAIN])
@pytest.mark.parametrize("spell", [str, lambda text: f"https://x.cn/t?a=1&{text}", str.swapcase])
def test_it_may_be_spelled_and_embedded_otherwise(text: str, spell: Any) -> None:
    """A whole URL, other parameters beside, hex in lower case: the tag's message is the same."""
    pieces = [piece.split("=") for piece in text.split("&")]
    if spell is str.swapcase:
        text = "&".join(f"{name}={value.lower()}" for name, value in pieces)
    else:
        text = spell(text)
    assert isinstance(read(text), Tap)


@pytest.mark.parametrize("text", [FRESH, WITH_DATA, PLAIN])
def test_a_digit_changed_anywhere_proves_nothing(text: str) -> None:
    """No digit of the message can be another one."""
    for place, sign in enumerate(text):
        if sign not in "0123456789ABCDEF":
            continue
        other = "0" if sign != "0" else "1"
        assert isinstance(read(text[:place] + other + text[place + 1 :]), Proof)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x=1",
        "picc_data=EF963FF7828658A599F3041510671E88",
        FRESH.replace("cmac=", "cmac= "),
        FRESH[:-1],
        FRESH + "0",
        f"{FRESH}&{FRESH}",
        f"{FRESH}&{PLAIN}",
        "uid=041E3C8A2D6B80&cmac=4B00064004B0B3D3",
        "picc_data=EF963FF7828658A599F3041510671E88&cmac=94EED9EE65337086&enc=" + "0" * 32,
        FRESH.replace("EF96", "ＥF96"),
    ],
)
def test_what_is_no_message_is_unreadable(text: str) -> None:
    """Parts missing, twice, of another length, or behind their MAC."""
    assert parse(text) is None


def test_another_meta_key_is_told_from_a_bad_mac() -> None:
    """Whoever reads the reason knows whether the tag was written with another master key."""
    other = SunKeys(meta=b"\1" * 16, file=bytes(16))
    assert read(FRESH, other) is Proof.OTHER_KEY
    assert read(FRESH, SunKeys(meta=bytes(16), file=b"\1" * 16)) is Proof.BAD_MAC


@given(st.text(ANY, max_size=600))
def test_whatever_comes_in_nothing_raises(text: str) -> None:
    """Anything a phone may have read is no tap, and no error."""
    assert read(text) in (Proof.UNREADABLE, Proof.OTHER_KEY, Proof.BAD_MAC)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["picc_data", "e", "enc", "d", "uid", "ctr", "cmac", "c", "x", ""]),
            st.text("0123456789abcdefABCDEF= ?&%", max_size=70),
        ),
        max_size=6,
    )
)
def test_nor_do_near_misses(pieces: list[tuple[str, str]]) -> None:
    """Parameters with the right names and any values neither raise nor verify."""
    text = "&".join(f"{name}={value}" for name, value in pieces)
    assert isinstance(read(text), Proof)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.text(ANY))
def test_random_ciphertexts_never_verify(picc: bytes, mac: bytes, literal: str) -> None:
    """A message taken apart of any bytes proves nothing either."""
    made = Mirrored(picc, b"", 0, "00" * 16, literal, mac)
    assert isinstance(verify(made, ZERO), Proof)


# Keys ---------------------------------------------------------------------------------------------

MASTER = MasterKey(version=1, secret=bytes.fromhex("00112233445566778899AABBCCDDEEFF"))


def test_keys_are_diversified_as_nxp_publishes_it() -> None:
    """The test vector of AN10922, section 2.2.1."""
    data = bytes.fromhex("04782E21801D80" + "3042F5" + "4E585020416275")
    assert diversified(MASTER.secret, data).hex().upper() == "A8DD63A3B89D54B37CA802473FDA9175"


def test_cmac_is_that_of_nist() -> None:
    """SP 800-38B, AES-128, examples 1 and 2."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert cmac(key, b"").hex() == "bb1d6929e95937287fa37d129b756746"
    one = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert cmac(key, one).hex() == "070a16b46b4d4144f79bdd9dd04a287c"


@pytest.mark.parametrize("length", [0, 15, 32])
def test_inputs_for_which_the_method_pads_otherwise_are_refused(length: int) -> None:
    """Below 16 bytes AN10922 is not plain CMAC, above 31 it is not defined."""
    with pytest.raises(ValueError, match="16 to 31"):
        diversified(MASTER.secret, bytes(length))


def test_every_key_is_another_but_the_one_that_finds_the_uid() -> None:
    """By tag, number, enrolment and master key; only the meta key is shared by a master's tags."""
    other = MasterKey(version=2, secret=bytes(16))
    keys = [
        tag_key(master, uid, number, generation)
        for master in (MASTER, other)
        for uid in ("04A2B3C4D5E681", "04A2B3C4D5E682")
        for number in (0, 1, 3, 4)
        for generation in (1, 2)
    ]
    assert len(set(keys)) == len(keys)
    shared = {sun_keys(MASTER, f"04A2B3C4D5E68{n}", n + 1).meta for n in range(5)}
    assert len(shared) == 1
    assert not shared & set(keys)


@pytest.mark.parametrize(("version", "secret"), [(1, b""), (1, bytes(15)), (0, bytes(16))])
def test_what_is_no_master_key_is_refused(version: int, secret: bytes) -> None:
    """AES-128 only, versions from 1; the words do not tell the key."""
    with pytest.raises(ValueError, match="master key") as refused:
        MasterKey(version=version, secret=secret)
    assert secret.hex() not in str(refused.value) or not secret


def test_no_key_shows_itself() -> None:
    """Neither repr nor str of anything that holds a key has a byte of it."""
    ring = Keyring({1: MASTER})
    keys = sun_keys(MASTER, "04A2B3C4D5E681", 1)
    for shown in (repr(MASTER), str(ring), repr(ring), f"{keys}"):
        for secret in (MASTER.secret, keys.meta, keys.file):
            assert secret.hex() not in shown.lower()
            assert repr(secret)[2:-1] not in shown
