"""Strict JSON (RFC 7493): one object, no duplicate keys, no surrogates or noncharacters, at most 8 levels deep.

Python's parser builds the values. It is lenient in some points, and its two implementations differ in some of them.
Therefore a scan of the lexical elements checks those points first.
"""

import json
import re
from typing import Any

MAX_DEPTH = 8

_ELEMENT = re.compile(
    r"""[ \t\n\r]*(
        [{}\[\],:] | true | false | null
      | -?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?
      | "[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"
    )[ \t\n\r]*""",
    re.VERBOSE,
)
# An escaped surrogate pair is one character after parsing.
_FORBIDDEN = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef%s]" % "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
)


class NotStrict(ValueError):
    """The text violates a rule."""


def parse(text: str) -> dict[str, Any]:
    """Reads one strict object. A number beyond the range of a double becomes an infinity, as usual in Python."""
    if _FORBIDDEN.search(text):
        raise NotStrict("a surrogate, or a noncharacter")
    at = depth = 0
    while element := _ELEMENT.match(text, at):
        at = element.end()
        if element[1] in "{[":
            depth += 1
        elif element[1] in "}]":
            depth -= 1
        elif "\\" in element[1] and _FORBIDDEN.search(json.loads(element[1])):
            raise NotStrict("a surrogate alone, or a noncharacter, escaped")
        if depth > MAX_DEPTH:
            raise NotStrict("too deep")
    if at < len(text):
        raise NotStrict("not JSON")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except NotStrict:
        raise
    except ValueError:
        # The parser's message may quote the text.
        raise NotStrict("not JSON") from None
    if not isinstance(value, dict):
        raise NotStrict("not an object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotStrict("a key stands twice")
    return members
