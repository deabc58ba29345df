"""What a tag writer puts on an NTAG 424 DNA so that it mirrors its proof into a URL. Pure.

Layout of the NDEF file and of ChangeFileSettings: NXP AN12196 section 6.9 and the NT4H2421Gx data
sheet, section 10.7.1. Offsets count bytes of the file from its beginning.
"""

from dataclasses import dataclass

from devices import sun

FILE_NUMBER = 2
FILE_SIZE = 256
PICC = "{picc}"
MAC = "{mac}"
PARAMETERS = f"picc_data={PICC}&cmac={MAC}"
_SCHEMES = {"https://": 0x04, "http://": 0x03}  # NFC Forum URI record: abbreviations
_HEAD = 7  # length of the message, 2; record header, 4; the scheme's abbreviation, 1

PLAIN_WITH_SDM = 0x40
ACCESS = bytes.fromhex("00E0")  # read: anybody; write, read-and-write, change: key 0
MIRRORS = 0xC1  # UID, counter, as ASCII
SDM_ACCESS = bytes.fromhex("F121")  # counter and MAC: key 1; PICCData: key 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The NDEF file as it is written, and the settings that have the tag fill it in.

    `settings`: the data of ChangeFileSettings for `FILE_NUMBER`, before its secure messaging.
    """

    template: str
    ndef: bytes
    picc_offset: int
    mac_offset: int
    settings: bytes


def layout(url: str) -> Layout:
    """The layout for `url`: a template with `{picc}` and `{mac}`, or to which they are added.

    Raises ValueError, with the remedy, for one that a tag cannot hold or the service cannot read.
    """
    template = url if PICC in url or MAC in url else url + ("&" if "?" in url else "?") + PARAMETERS
    scheme = next((scheme for scheme in _SCHEMES if template.startswith(scheme)), None)
    if scheme is None or not (template.isascii() and template.isprintable()) or " " in template:
        raise ValueError(f"{url!r} is no URL for a tag: write https://host/path in ASCII")
    if template.count(PICC) != 1 or template.count(MAC) != 1:
        raise ValueError(f"write {PICC} and {MAC} once each, or neither of them")
    filled = template.replace(PICC, "0" * 32).replace(MAC, "0" * 16)
    if sun.parse(filled) is None:
        raise ValueError(f"the service would not find them again: write …?{PARAMETERS}")
    text = filled.removeprefix(scheme)
    if len(text) + _HEAD > FILE_SIZE:
        raise ValueError(f"it is {len(text) + _HEAD - FILE_SIZE} characters too long for the tag")
    picc = _HEAD + template.removeprefix(scheme).replace(MAC, "0" * 16).index(PICC)
    mac = _HEAD + template.removeprefix(scheme).replace(PICC, "0" * 32).index(MAC)
    return Layout(
        template=template,
        ndef=_ndef(_SCHEMES[scheme], text),
        picc_offset=picc,
        mac_offset=mac,
        settings=_settings(picc, mac),
    )


def _ndef(abbreviation: int, text: str) -> bytes:
    payload = bytes((abbreviation,)) + text.encode("ascii")
    record = b"\xd1\x01" + bytes((len(payload),)) + b"U" + payload
    return len(record).to_bytes(2) + record


def _settings(picc: int, mac: int) -> bytes:
    """The MAC is over nothing but UID and counter: its input begins where it stands itself."""
    offsets = b"".join(offset.to_bytes(3, "little") for offset in (picc, mac, mac))
    return bytes((PLAIN_WITH_SDM,)) + ACCESS + bytes((MIRRORS,)) + SDM_ACCESS + offsets
