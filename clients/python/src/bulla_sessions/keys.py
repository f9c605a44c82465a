"""Opens and seals tokens with the derived keys of one purpose and audience."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from cryptography.exceptions import InvalidTag

from . import export, wire
from .export import BadExport
from .payload import parse
from .suite import MAGICS, SUITES

SKEW = 60_000
"""How far the sealer's clock may be ahead of the opener's, in milliseconds."""
MAX_UNDER_A = 1 << 32
"""The most tokens that a process seals under one AES-256-GCM key.

Beyond this number, a collision of random nonces is no longer negligible.
"""
VARIABLE = "BULLA_EXPORT"
"""The variable that `bulla keys export --format env` sets."""

# Counts the tokens that this process has sealed, by kid. A reload does not reset it.
_sealed: dict[str, count[int]] = {}


class Refused(Exception):
    """A token was refused. The message is the same for every reason; `reason` is for metrics and trace logs only.

    length, encoding, magic, unknown_key, suite, unsupported (by this library), tag, future, expired, not_before,
    payload, purpose (the token is valid, but the caller does not admit its purpose: for example a machine's token if
    only people are admitted), or missing (the request has no token).
    """

    def __init__(self, reason: str) -> None:
        super().__init__("token refused")
        self.reason = reason


class SealError(Exception):
    """The payload was not sealed; the message gives the reason."""


@dataclass(frozen=True)
class Opened:
    """The content of a verified token."""

    payload: dict[str, Any]
    text: str
    """The payload exactly as it was sealed."""
    kid: str
    issued_at: int
    """When it was sealed, Unix milliseconds."""
    purpose: str = ""
    """The purpose of the export that opened the token: `access` for people, `service` for machines."""
    audience: str = ""
    """The audience of that export."""


class _Key:
    def __init__(self, line: export.Line) -> None:
        self.suite = line.suite
        self.aead = line.suite.aead(line.secret) if line.suite.aead else None


class Keys:
    """The keys of an export: derived keys, the maximum age of a token, and the time before which no token is valid.

    Immutable. A holder of the keys can open and forge tokens of this purpose and audience, and no other tokens.
    """

    def __init__(self, text: str) -> None:
        """Reads the JSON form of an export; raises `BadExport` for anything else."""
        file = export.read(text)
        self.purpose, self.audience = file.purpose, file.audience
        self.max_age, self.not_before = file.max_age, file.not_before
        self._keys = {line.kid: _Key(line) for line in file.lines}
        self._active = next((line.kid for line in file.lines if line.state == "active"), None)

    @classmethod
    def from_bytes(cls, text: bytes) -> Keys:
        """Reads the JSON form of an export from UTF-8 bytes."""
        try:
            return cls(text.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadExport("it is not UTF-8") from None

    @classmethod
    def from_env(cls, variable: str = VARIABLE) -> Keys:
        """Reads the variable that `bulla keys export --format env` sets: the JSON form in base64url."""
        text = wire.decode(os.environ.get(variable, ""))
        if not text:
            raise BadExport(f"{variable} is not set, or not base64url")
        return cls.from_bytes(text)

    def __repr__(self) -> str:
        return f"Keys({self.purpose!r}, {self.audience!r}, {list(self._keys)})"

    def open(self, token: str, now: int | None = None) -> Opened:
        """Opens a token, or raises `Refused`. `now` is in Unix milliseconds; by default the system's time."""
        sealed = _read(token)
        header = sealed[: wire.HEADER]
        kid = header[wire.MAGIC :].hex()
        key = self._keys.get(kid)
        if key is None:
            raise Refused("unknown_key")
        if key.suite.magic != header[: wire.MAGIC]:
            raise Refused("suite")
        text_at = wire.HEADER + key.suite.nonce
        if len(sealed) < text_at + wire.ISSUED_AT + wire.TAG:
            raise Refused("length")
        if key.aead is None:
            raise Refused("unsupported")
        try:
            clear = key.aead.open(sealed[wire.HEADER : text_at], sealed[text_at:], header)
        except InvalidTag:
            raise Refused("tag") from None
        issued_at = int.from_bytes(clear[: wire.ISSUED_AT], "big")
        self._judge_age(issued_at, _now() if now is None else now)
        try:
            text = clear[wire.ISSUED_AT :].decode("utf-8")
            return Opened(parse(text), text, kid, issued_at, self.purpose, self.audience)
        except ValueError:
            raise Refused("payload") from None

    def _judge_age(self, issued_at: int, now: int) -> None:
        if issued_at > now + SKEW:
            raise Refused("future")
        if now >= issued_at + self.max_age * 1000:
            raise Refused("expired")
        if issued_at < self.not_before:
            raise Refused("not_before")

    def seal(self, payload: Mapping[str, Any] | str, now: int | None = None) -> str:
        """Seals an object, or the text of one, under the active key, or raises `SealError`. `now` is as in `open`.

        The nonce is new, from the system's random generator.
        """
        if self._active is None:
            raise SealError("there is no active key to seal with")
        key = self._keys[self._active]
        if key.aead is None:
            raise SealError("suite not supported")
        text = _strict(payload)
        header = key.suite.magic + bytes.fromhex(self._active)
        if (wire.HEADER + key.suite.nonce + wire.ISSUED_AT + len(text) + wire.TAG) * 4 > wire.MAX_CHARS * 3:
            raise SealError("the payload is too long: the token would exceed 4096 characters")
        now = _now() if now is None else now
        if not 0 <= now < 1 << 48:
            raise SealError("the time is out of range")
        if key.suite is SUITES["aes-256-gcm"]:
            _count(self._active)
        nonce = os.urandom(key.suite.nonce)
        sealed = key.aead.seal(nonce, now.to_bytes(wire.ISSUED_AT, "big") + text, header)
        return wire.encode(header + nonce + sealed)


def _read(token: str) -> bytes:
    """Checks length, spelling and magic of a token."""
    # Counted in bytes, as in the Rust core. A text that is not UTF-8 is not base64url either.
    if not wire.MIN_CHARS <= len(token.encode("utf-8", "surrogatepass")) <= wire.MAX_CHARS:
        raise Refused("length")
    sealed = wire.decode(token)
    if sealed is None:
        raise Refused("encoding")
    if sealed[: wire.MAGIC] not in MAGICS:
        raise Refused("magic")
    return sealed


def _strict(payload: Mapping[str, Any] | str) -> bytes:
    try:
        text = payload if isinstance(payload, str) else _compact(payload)
        parse(text)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        raise SealError("the payload is not one strict JSON object (RFC 7493, at most 8 levels deep)") from None


def _compact(payload: Mapping[str, Any]) -> str:
    return json.dumps(dict(payload), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _count(kid: str) -> None:
    if next(_sealed.setdefault(kid, count())) >= MAX_UNDER_A:
        raise SealError("this AES-256-GCM key has sealed 2^32 tokens; roll over with `bulla keys rotate`")


def _now() -> int:
    return time.time_ns() // 1_000_000
