"""What others wrote, made harmless to a terminal: controls are shown, never obeyed."""

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""C0, DEL and C1, and the characters that turn the direction of what follows (Trojan Source)."""

_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_IN_LINES = {code: shown for code, shown in _SHOWN.items() if code != ord("\n")}


def plain(text: str, *, lines: bool = True) -> str:
    r"""The text with its control characters as `\x1b` or `\u202e`; a newline stays in `lines`."""
    return text.translate(_IN_LINES if lines else _SHOWN)
