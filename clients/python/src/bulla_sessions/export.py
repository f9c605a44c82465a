"""Reads the output of `bulla keys export` strictly."""

import re
from dataclasses import dataclass, field
from typing import Any

from . import wire
from .payload import NotStrict, parse
from .suite import SUITES, Suite


class BadExport(ValueError):
    """The input is not an output of `bulla keys export`. The message names the violated rule, never a key."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"not a key export: {rule}")


@dataclass(frozen=True)
class Line:
    """A key of the export."""

    kid: str
    state: str
    suite: Suite
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Export:
    purpose: str
    audience: str
    max_age: int
    not_before: int
    lines: list[Line]


def read(text: str) -> Export:
    """Reads the JSON form: no unknown field, no duplicate kid, at most one active key, no revoked key."""
    try:
        file = parse(text)
    except NotStrict as error:
        raise BadExport(f"it is not strict JSON, {error}") from None
    _fields(file, {"version", "purpose", "audience", "max_age", "not_before", "keys"})
    _integer(file["version"], 1, 1, "its version is not 1")
    if not isinstance(file["keys"], list):
        raise BadExport("its keys are not a list")
    lines = [_line(line) for line in file["keys"]]
    if len({line.kid for line in lines}) < len(lines):
        raise BadExport("a kid is listed twice")
    if sum(line.state == "active" for line in lines) > 1:
        raise BadExport("more than one key is active")
    return Export(
        purpose=_text(file["purpose"], r"[a-z][a-z0-9-]{0,31}", "its purpose is not a valid purpose"),
        audience=_text(file["audience"], r"|[a-z0-9][a-z0-9.-]{0,63}", "its audience is not a valid audience"),
        max_age=_integer(file["max_age"], 0, 2**64 - 1, "its max_age is not a number of seconds"),
        not_before=_integer(file["not_before"], -(2**63), 2**63 - 1, "its not_before is not a time"),
        lines=lines,
    )


def _line(line: object) -> Line:
    if not isinstance(line, dict):
        raise BadExport("a key is not an object")
    _fields(line, {"kid", "state", "suite", "key"})
    kid = _text(line["kid"], r"[0-9a-f]{8}", "a kid is not 8 lower-case hex digits")
    state = _text(line["state"], "staged|active|retired", "a key is neither staged nor active nor retired")
    suite = SUITES[_text(line["suite"], "|".join(SUITES), "a suite is unknown")]
    secret = wire.decode(_text(line["key"], ".{43}", "a key is not 43 characters of base64url"))
    if secret is None:
        raise BadExport("a key is not 43 characters of base64url")
    return Line(kid, state, suite, secret)


def _fields(members: dict[str, Any], names: set[str]) -> None:
    if members.keys() != names:
        raise BadExport("a field is missing or unknown")


def _text(value: object, pattern: str, rule: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise BadExport(rule)
    return value


def _integer(value: object, least: int, most: int, rule: str) -> int:
    # Not isinstance, because in Python a bool is an int.
    if type(value) is not int or not least <= value <= most:
        raise BadExport(rule)
    return value
