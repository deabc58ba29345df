"""The simulator's tag against the makers' examples, and against the service's reading of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.proofs import Enrolment, Proof
from devices.proving import prove
from devices.tagkeys import Keyring, MasterKey, diversified
from firmware_sim.suntags import SunTag, cmac, diversify

UID = "04A2B3C4D5E681"
KEYS = st.binary(min_size=16, max_size=16)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_cmac_is_that_of_the_rfc(length: int, expected: str) -> None:
    """RFC 4493, its four examples."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    message = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    assert cmac(key, message[:length]).hex() == expected


def test_keys_are_those_of_the_application_note() -> None:
    """AN10922, section 2.2.1."""
    master = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    data = bytes.fromhex("04782E21801D803042F54E585020416275")
    assert diversify(master, data).hex().upper() == "A8DD63A3B89D54B37CA802473FDA9175"


@given(master=KEYS, data=st.binary(min_size=16, max_size=31))
def test_both_sides_make_the_same_keys(master: bytes, data: bytes) -> None:
    """Two readings of AN10922, one key, for every length of input that is allowed."""
    assert diversify(master, data) == diversified(master, data)


@given(secret=KEYS, generation=st.integers(1, 255), taps=st.integers(1, 5))
def test_what_the_tag_says_the_service_proves(secret: bytes, generation: int, taps: int) -> None:
    """Each tap has its counter; with other keys, for another tag, or once retired, none counts."""
    tag = SunTag(UID, secret, generation)
    said = [tag.tap() for _ in range(taps)]
    ring = Keyring({1: MasterKey(version=1, secret=secret)})
    held = Enrolment(id=7, generation=generation, key_version=1)
    proved = [prove(ring, [held], UID, sun, at=0) for sun in said]
    assert [(each.proof, each.ctr) for each in proved] == [
        (Proof.PROVEN, n) for n in range(1, taps + 1)
    ]
    last = said[-1]
    other = held._replace(generation=generation % 255 + 1)
    assert prove(ring, [other], UID, last, at=0).proof is Proof.BAD_MAC
    assert prove(ring, [other, held], UID, last, at=0).proof is Proof.PROVEN
    assert prove(ring, [held], "04A2B3C4D5E682", last, at=0).proof is Proof.OTHER_TAG
    assert prove(ring, [held._replace(retired_at=1)], UID, last, at=0).proof is Proof.PROVEN
    assert prove(ring, [held._replace(retired_at=1)], UID, last, at=1).proof is Proof.RETIRED
    assert prove(Keyring(), [held], UID, last, at=0).proof is Proof.NO_KEY
    assert prove(ring, [], UID, last, at=0).proof is Proof.NOT_ENROLLED
