"""Ids, tags and topics are read as they are written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ids import MAX_SAFE, RESERVED, Identity, is_slug, normalize_tag
from devices.topics import BadTopic, Kind, UpTopic, parse_up

SLUGS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True).filter(
    lambda text: text not in RESERVED
)
COUNTS = st.integers(0, MAX_SAFE)


@given(SLUGS, COUNTS, COUNTS)
def test_identities_come_back(device: str, epoch: int, seq: int) -> None:
    """`parse` is the inverse of `str`."""
    identity = Identity(device, epoch, seq)
    assert Identity.parse(str(identity)) == identity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hh-0101",
        "hh-0101/0",
        "hh-0101/0/1/2",
        "hh-0101/0/-1",
        "hh-0101/00/1",
        "hh-0101/0/01",
        "hh-0101/0/1 ",
        "hh-0101/0/+1",
        "hh-0101/0/1_0",
        "hh-0101/0/٣",
        "HH/0/1",
        "all/0/1",
        f"hh-0101/0/{MAX_SAFE + 1}",
        f"hh-0101/{MAX_SAFE + 1}/0",
        "hh-0101/0/1\n",
        "hh-0101/0/" + "9" * 5000,
    ],
)
def test_other_words_are_no_identity(text: str) -> None:
    """One identity has one spelling."""
    with pytest.raises(ValueError, match="is no identity"):
        Identity.parse(text)


@given(st.text(max_size=70))
def test_a_slug_is_what_the_contract_says(text: str) -> None:
    """The pattern as the contract writes it, less the reserved words."""
    plain = re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text) is not None
    assert is_slug(text) is (plain and text not in RESERVED)


@pytest.mark.parametrize("text", ["a", "0", "a-", "all-1", "x" * 63, "school-01"])
def test_slugs(text: str) -> None:
    """What may be an id."""
    assert is_slug(text)


@pytest.mark.parametrize(
    "text", ["", "-a", "A", "a_b", "a.b", "a\n", "é", "x" * 64, *sorted(RESERVED)]
)
def test_no_slugs(text: str) -> None:
    """What may not: a line end, too, which `$` would let pass."""
    assert not is_slug(text)


@given(st.binary(min_size=2, max_size=10), st.sampled_from(["", ":", "-", " "]), st.booleans())
def test_one_uid_is_one_tag(uid: bytes, separator: str, upper: bool) -> None:
    """However a reader prints a UID, the tag is the same."""
    text = separator.join(f"{byte:02x}" for byte in uid)
    assert normalize_tag(text.upper() if upper else text) == uid.hex().upper()


@given(st.text(max_size=40))
def test_normalizing_twice_changes_nothing(text: str) -> None:
    """A normalized tag is a fixed point, and only UIDs are changed."""
    tag = normalize_tag(text)
    assert normalize_tag(tag) == tag
    assert tag == text or re.fullmatch(r"(?:[0-9A-F]{2}){2,}", tag)


@given(SLUGS, SLUGS, st.sampled_from(Kind), st.binary(min_size=32, max_size=32))
def test_topics_come_back(site: str, device: str, kind: Kind, sha256: bytes) -> None:
    """`parse_up` is the inverse of `str`."""
    name = sha256.hex() if kind is Kind.PHOTO else None
    topic = UpTopic(site=site, device=device, kind=kind, sha256=name)
    assert parse_up(str(topic)) == topic


@given(st.lists(st.sampled_from(["patrol", "v1", "up", "sos", "a", "", "all", "+"]) | st.text()))
def test_any_topic_is_answered(levels: list[str]) -> None:
    """No topic raises; what is read is what was written."""
    text = "/".join(levels)
    found = parse_up(text)
    assert found.topic == text if isinstance(found, BadTopic) else str(found) == text
