"""Tokens and keys from docs/token.md, on the `cryptography` package; nothing here comes from the code under test."""

import base64
import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITES = {"X": "xaes-256-gcm", "A": "aes-256-gcm", "C": "xchacha20-poly1305"}
NONCE = {"X": 24, "A": 12, "C": 24}
TAG = 16
NOW = 1_790_000_000_000


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text):
    """Lenient, as Python is: what `text` would be read as."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def fixed(label, length):
    """Bytes that look random and never change."""
    return hashlib.shake_128(b"bulla vectors: " + label.encode()).digest(length)


def hkdf(root, *parts, length=32, salt=None):
    info = b"\0".join(part.encode() for part in parts)
    return HKDF(SHA256(), length, salt, info).derive(root)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def aes(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def chacha_block(key, start):
    """One block of the key stream; `start` is the counter and the nonce, 16 bytes."""
    return Cipher(algorithms.ChaCha20(key, start), None).encryptor().update(bytes(64))


def xaes_key(key, half):
    """The derivation of C2SP XAES-256-GCM."""
    top = int.from_bytes(aes(key, bytes(16)), "big")
    k1 = ((top << 1 ^ (top >> 127) * 0x87) % 2**128).to_bytes(16, "big")
    return b"".join(aes(key, xor(bytes([0, i, 0x58, 0]) + half, k1)) for i in (1, 2))


def hchacha(key, start):
    """HChaCha20 of draft-irtf-cfrg-xchacha: a block of ChaCha20 less the state it began with."""
    state = struct.unpack("<16I", b"expand 32-byte k" + key + start)
    block = struct.unpack("<16I", chacha_block(key, start))
    words = [(after - before) % 2**32 for after, before in zip(block, state)]
    return struct.pack("<8I", *words[:4], *words[12:])


def inner(letter, key, nonce):
    """What an extended nonce comes down to: the key and the 12-byte nonce of the AEAD below."""
    if letter == "X":
        return xaes_key(key, nonce[:12]), nonce[12:]
    if letter == "C":
        return hchacha(key, nonce[:16]), bytes(4) + nonce[16:]
    return key, nonce


def aead(letter, key):
    """The AEAD below."""
    return ChaCha20Poly1305(key) if letter == "C" else AESGCM(key)


def encrypt(letter, key, nonce, header, clear):
    key, nonce = inner(letter, key, nonce)
    return aead(letter, key).encrypt(nonce, clear, header)


@dataclass(frozen=True)
class Key:
    """A root key, and the line of an export that holds what is derived from it."""

    letter: str
    root: bytes
    state: str = "active"

    @property
    def kid(self):
        return hkdf(self.root, "bulla/v1", self.letter, "kid", length=4)

    def derive(self, purpose, audience):
        return hkdf(self.root, "bulla/v1", self.letter, purpose, audience)

    def line(self, purpose, audience):
        key = b64(self.derive(purpose, audience))
        return {"kid": self.kid.hex(), "state": self.state, "suite": SUITES[self.letter], "key": key}


@dataclass(frozen=True)
class Token:
    """A token in pieces, to be put together otherwise with `dataclasses.replace`."""

    magic: bytes
    kid: bytes
    nonce: bytes
    sealed: bytes
    tag: bytes

    @property
    def bytes(self):
        return self.magic + self.kid + self.nonce + self.sealed + self.tag

    @property
    def text(self):
        return b64(self.bytes)


def seal(key, payload, label, issued_at=NOW, purpose="access", audience="", nonce=None, header=None, under=None):
    """Seals; `header` and `under` are the associated data and the derived key, if they are to be wrong."""
    if isinstance(issued_at, int):
        issued_at = issued_at.to_bytes(6, "big")
    payload = payload.encode() if isinstance(payload, str) else payload
    nonce = nonce or fixed(f"nonce {label}", NONCE[key.letter])
    magic = unb64("bul" + key.letter)
    under = under or key.derive(purpose, audience)
    header = magic + key.kid if header is None else header
    sealed = encrypt(key.letter, under, nonce, header, issued_at + payload)
    return Token(magic, key.kid, nonce, sealed[:-TAG], sealed[-TAG:])


def check_published():
    """One published case of either extended nonce: C2SP XAES-256-GCM, and draft-irtf-cfrg-xchacha 2.2.1."""
    sealed = encrypt("X", b"\x03" * 32, b"ABCDEFGHIJKLMNOPQRSTUVWX", b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM")
    assert sealed.hex() == "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    key = hchacha(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert key.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
