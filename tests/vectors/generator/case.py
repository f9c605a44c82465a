"""One vector, and what the vectors of a suite share."""

from dataclasses import replace

from .sealing import NONCE, NOW, SUITES, TAG, Key, Token, b64, fixed, seal, unb64

ID = '{"id":"42"}'
LONG = '{"id":"42","sid":"0t4mBqJkT0WQfqk7mFZQ1g","roles":["admin","ops"],"mail":"ada@example.org"}'

VECTORS = {}


def export(*keys, purpose="access", audience="", max_age=120, not_before=0):
    """What `bulla keys export` prints."""
    head = {"version": 1, "purpose": purpose, "audience": audience, "max_age": max_age, "not_before": not_before}
    return head | {"keys": [key.line(purpose, audience) for key in keys]}


def vector(name, comment, ring, token, now=NOW, made_from=None, refused=None, payload=None):
    """Is refused or has a payload. `made_from` (root key, nonce, issued_at) is for who wants to seal as well."""
    assert name not in VECTORS and (refused is None) != (payload is None), name
    case = {"name": name, "comment": comment, "export": ring, "now": now}
    case["token"] = token.text if isinstance(token, Token) else token
    case |= {"payload": payload} if refused is None else {"refused": refused}
    if made_from:
        root, nonce, issued_at = made_from
        case["made_from"] = {"root_key": b64(root), "nonce": b64(nonce), "issued_at": issued_at}
    VECTORS[name] = case


def flipped(data, at):
    """A bit of one byte is flipped, another one from byte to byte."""
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]


class Suite:
    """A letter, its keys, the export that holds two of them, and tokens that open."""

    def __init__(self, letter):
        self.letter, self.low, self.nonce_size = letter, letter.lower(), NONCE[letter]
        self.other_letters = [other for other in SUITES if other != letter]
        self.key, self.other, self.third = (Key(letter, fixed(f"root {n} {letter}", 32)) for n in (1, 2, 3))
        self.other = replace(self.other, state="retired")
        self.ring = export(self.key, self.other)
        # Bytes of a token without payload.
        self.least = 7 + self.nonce_size + 6 + TAG
        # Both odd letters stand in it, so that they can be spelled otherwise.
        tries = (seal(self.key, ID, f"good {n}") for n in range(1000))
        self.good = next(token for token in tries if "-" in token.text[10:-4] and "_" in token.text[10:-4])
        self.long = seal(self.key, LONG, "long")

    def add(self, name, comment, token, ring=None, **more):
        vector(f"{self.low}-{name}", comment, ring or self.ring, token, **more)

    def refusal_of(self, text):
        """Why a text that begins like a token and ends elsewhere is refused."""
        if not 58 <= len(text) <= 4096:
            return "length"
        if len(text) % 4 == 1 or b64(unb64(text)) != text:
            return "encoding"
        return "length" if len(unb64(text)) < self.least else "tag"
