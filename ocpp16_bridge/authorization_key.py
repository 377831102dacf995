"""The AuthorizationKey: one text, two notations (security white paper, 7.2; obligations SE-10 and SE-11)."""

import re

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
_TEXT_LENGTHS = range(8, 21)  # characters


def check_authorization_key(text: str) -> None:
    """See whether ``text`` can be an AuthorizationKey.

    Raises:
        ValueError: it can't; the message doesn't repeat it.

    """
    is_text = len(text) in _TEXT_LENGTHS and text.isprintable()
    if not is_text and not _HEX.fullmatch(text):
        raise ValueError("expected 32 to 40 hexadecimal digits, an even number, or 8 to 20 printable characters")


def password(authorization_key: str) -> bytes:
    """What an AuthorizationKey stands for: 32 … 40 hex digits are bytes, anything else is text."""
    if _HEX.fullmatch(authorization_key):
        return bytes.fromhex(authorization_key)
    return authorization_key.encode()
