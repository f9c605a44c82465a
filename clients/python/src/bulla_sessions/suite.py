"""The AEADs, with keys expanded once: AES-256-GCM, and XAES-256-GCM (C2SP), which is composed from it."""

from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Aead(Protocol):
    """A key, ready to use. `open` raises `cryptography.exceptions.InvalidTag`; the tag is always 16 bytes."""

    def seal(self, nonce: bytes, text: bytes, header: bytes) -> bytes: ...
    def open(self, nonce: bytes, sealed: bytes, header: bytes) -> bytes: ...


class AesGcm:
    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, nonce: bytes, text: bytes, header: bytes) -> bytes:
        return self._aead.encrypt(nonce, text, header)

    def open(self, nonce: bytes, sealed: bytes, header: bytes) -> bytes:
        return self._aead.decrypt(nonce, sealed, header)


class XaesGcm:
    """AES-256-GCM under a key that CMAC derives from the first half of the nonce."""

    def __init__(self, key: bytes) -> None:
        self._aes = Cipher(algorithms.AES(key), modes.ECB())
        top = int.from_bytes(self._blocks(bytes(16)), "big")
        # K1 of CMAC (NIST SP 800-38B): doubling in GF(2^128).
        self._mask = (top << 1) % (1 << 128) ^ (top >> 127) * 0b1000_0111

    def seal(self, nonce: bytes, text: bytes, header: bytes) -> bytes:
        return self._derive(nonce[:12]).encrypt(nonce[12:], text, header)

    def open(self, nonce: bytes, sealed: bytes, header: bytes) -> bytes:
        return self._derive(nonce[:12]).decrypt(nonce[12:], sealed, header)

    def _derive(self, half: bytes) -> AESGCM:
        numbers = (int.from_bytes(bytes([0, i, ord("X"), 0]) + half, "big") for i in (1, 2))
        return AESGCM(self._blocks(b"".join((number ^ self._mask).to_bytes(16, "big") for number in numbers)))

    def _blocks(self, blocks: bytes) -> bytes:
        return self._aes.encryptor().update(blocks)


class Suite(NamedTuple):
    magic: bytes
    nonce: int
    """The length of a nonce, in bytes."""
    aead: type[AesGcm] | type[XaesGcm] | None
    """None if `cryptography` does not have the cipher."""


SUITES = {
    "xaes-256-gcm": Suite(b"\x6e\xe9\x57", 24, XaesGcm),
    "aes-256-gcm": Suite(b"\x6e\xe9\x40", 12, AesGcm),
    "xchacha20-poly1305": Suite(b"\x6e\xe9\x42", 24, None),
}
MAGICS = {suite.magic for suite in SUITES.values()}
