"""The layout of a token, byte by byte (docs/token.md).

    base64url( magic 3 | kid 4 | nonce 24 or 12 | ciphertext of (issued_at 6 | payload) | tag 16 )
"""

import base64

MIN_CHARS = 58
MAX_CHARS = 4096
MAGIC = 3
HEADER = 7
ISSUED_AT = 6
TAG = 16


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Decodes text in its only valid spelling, or returns None.

    Python's decoder is lenient, so the result is encoded again and compared.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if encode(data) == text else None
