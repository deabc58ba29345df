"""What is written on a tag: offsets and settings as NXP's own example has them."""

import pytest

from devices.sdm import FILE_SIZE, layout

EXAMPLE = "https://choose.url.com/ntag424?e={picc}&c={mac}"


def test_offsets_and_settings_are_those_of_the_application_note() -> None:
    """AN12196, the personalization example: PICCData at 20h, MAC at 43h, settings as printed."""
    made = layout(EXAMPLE)
    assert (made.picc_offset, made.mac_offset) == (0x20, 0x43)
    assert made.settings.hex().upper() == "4000E0C1F121200000430000430000"


def test_the_file_holds_zeros_exactly_where_the_tag_fills_in() -> None:
    """The tag overwrites 32 and 16 characters of the file at the offsets; nothing else moves."""
    made = layout("https://patrol.example/t")
    assert made.template == "https://patrol.example/t?picc_data={picc}&cmac={mac}"
    assert int.from_bytes(made.ndef[:2]) == len(made.ndef) - 2
    assert made.ndef[2:7] == bytes((0xD1, 0x01, len(made.ndef) - 6, 0x55, 0x04))
    for offset, length, before in (
        (made.picc_offset, 32, b"data="),
        (made.mac_offset, 16, b"mac="),
    ):
        assert made.ndef[offset : offset + length] == b"0" * length
        assert made.ndef[offset - len(before) : offset] == before


def test_parameters_are_added_to_those_there_are() -> None:
    """Who gives a URL with a query keeps it."""
    assert layout("http://h/t?s=1").template == "http://h/t?s=1&picc_data={picc}&cmac={mac}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("patrol.example/t", "https://"),
        ("https://巡.cn/t", "ASCII"),
        ("https://h/a b", "ASCII"),
        ("https://h/t?picc_data={picc}", "once each"),
        ("https://h/t?p={picc}&m={mac}", "find them again"),
        ("https://h/t#x?picc_data={picc}&cmac={mac}#y", "find them again"),
        ("https://h/" + "a" * FILE_SIZE, "too long"),
    ],
)
def test_a_url_that_no_tag_can_hold_is_refused_with_the_remedy(url: str, words: str) -> None:
    """Before anything is written on a tag."""
    with pytest.raises(ValueError, match=words):
        layout(url)
