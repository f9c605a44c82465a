"""What is judged once the tag fits: age, payload; and what a key is for."""

from dataclasses import replace

from . import payloads
from .case import ID, export
from .sealing import NOW, TAG, fixed, seal

MINUTE = 60_000
LATEST = 2**48 - 1
PURPOSES = ["access", "refresh", "service", "login", "my-own-2"]
AUDIENCES = ["", "billing", "shop.example", "shop", "access"]
# Under suites A and C; all of them under X.
SOME_PAYLOADS = {
    "empty-object", "unicode", "depth-8-objects", "array", "bom", "unclosed", "number-nan", "string-lone-high",
    "string-noncharacter", "utf8-byte-ff", "twice-plain", "twice-escaped", "depth-9-objects",
}


def age(s):
    token = seal(s.key, ID, "age")
    for name, comment, now, refused in [
        ("fresh", "Just sealed.", NOW, None),
        ("last", "A millisecond before its end.", NOW + 2 * MINUTE - 1, None),
        ("end", "Exactly as old as a token may not be.", NOW + 2 * MINUTE, "expired"),
        ("past", "A millisecond past its end.", NOW + 2 * MINUTE + 1, "expired"),
        ("day", "A day old.", NOW + 1440 * MINUTE, "expired"),
        ("ahead", "Sealed a minute ahead, as far as clocks may differ.", NOW - MINUTE, None),
        ("too-far-ahead", "Sealed a minute and a millisecond ahead.", NOW - MINUTE - 1, "future"),
        ("day-ahead", "Sealed a day ahead.", NOW - 1440 * MINUTE, "future"),
        ("clock-at-epoch", "The opener's clock has never been set.", 0, "future"),
    ]:
        s.add(f"age-{name}", comment, token, now=now, refused=refused, payload=None if refused else ID)


def age_at_the_edges(s):
    """Once: which suite sealed it plays no part."""
    if s.letter != "X":
        return
    token = seal(s.key, ID, "age")
    for name, comment, limits, now, refused in [
        ("at-not-before", "Sealed in the millisecond of not_before.", {"not_before": NOW}, NOW, None),
        ("before", "Sealed a millisecond before not_before.", {"not_before": NOW + 1}, NOW, "not_before"),
        ("before-and-ahead", "Sealed ahead, and before not_before.",
         {"not_before": NOW + 1}, NOW - MINUTE, "not_before"),
        ("before-and-past", "Past its end and before not_before: the end is looked at first.",
         {"not_before": NOW + 1}, NOW + 2 * MINUTE, "expired"),
        ("before-and-too-far-ahead", "Too far ahead and before not_before: the future is looked at first.",
         {"not_before": NOW + 1}, NOW - MINUTE - 1, "future"),
        ("shortened", "Lives were shortened after it was sealed.", {"max_age": 60}, NOW + MINUTE, "expired"),
        ("lengthened", "Lives were lengthened after it was sealed.", {"max_age": 900}, NOW + 899_999, None),
        ("year", "A life of a year.", {"max_age": 31_536_000}, NOW + 31_535_999_999, None),
        ("no-life", "A life of nothing.", {"max_age": 0}, NOW, "expired"),
        ("wraps-64-bits", "max_age in milliseconds exceeds 64 bits: a product that wraps is small.",
         {"max_age": 2**64 // 1000 + 1}, NOW + 1440 * MINUTE, None),
        ("wraps-63-bits", "max_age in milliseconds exceeds 63 bits: a product that wraps is negative.",
         {"max_age": 2**63 // 1000 + 1}, NOW + 1440 * MINUTE, None),
        ("longest", "max_age is the largest number of 64 bits.", {"max_age": 2**64 - 1}, LATEST, None),
        ("longest-and-ahead", "max_age is the largest number of 64 bits, and the token is sealed too far ahead.",
         {"max_age": 2**64 - 1}, NOW - MINUTE - 1, "future"),
    ]:
        ring = export(s.key, **limits)
        s.add(f"age-{name}", comment, token, ring=ring, now=now, refused=refused, payload=None if refused else ID)
    for name, comment, issued_at, now, refused in [
        ("first", "Sealed in the first millisecond of all.", 0, 0, None),
        ("first-late", "Sealed in the first millisecond of all, opened today.", 0, NOW, "expired"),
        ("latest", "Sealed in the last millisecond of all.", LATEST, LATEST, None),
        ("latest-early", "Sealed in the last millisecond of all, opened today.", LATEST, NOW, "future"),
        ("latest-end", "Its end lies beyond 48 bits.", LATEST, LATEST + 2 * MINUTE, "expired"),
        ("32-bits", "A time of 33 bits.", 2**32, 2**32, None),
        ("high-bit", "The highest bit of the time is set.", 2**47, 2**47, None),
        ("seconds", "The time is in seconds.", NOW // 1000, NOW, "expired"),
        ("little-endian", "The time's bytes stand the other way round.", NOW.to_bytes(6, "little"), NOW, "expired"),
    ]:
        made = seal(s.key, ID, f"age {name}", issued_at)
        s.add(f"age-{name}", comment, made, now=now, refused=refused, payload=None if refused else ID)
    s.add("age-bad-payload", "Past its end and no object: the age is looked at first.", seal(s.key, "[]", "old array"),
          now=NOW + 2 * MINUTE, refused="expired")
    s.add("age-bad-tag", "Past its end and the tag doesn't fit: nothing is read of what isn't verified.",
          replace(token, tag=bytes(TAG)), now=NOW + 2 * MINUTE, refused="tag")


def payload(s):
    def wanted(name):
        return s.letter == "X" or name in SOME_PAYLOADS

    for name, text, comment in filter(lambda row: wanted(row[0]), payloads.GOOD):
        s.add(f"payload-{name}", comment, seal(s.key, text, f"good {name}"), payload=text)
    for name, text, comment in filter(lambda row: wanted(row[0]), payloads.refused()):
        s.add(f"payload-{name}", comment, seal(s.key, text, f"bad {name}"), refused="payload")


def binding(s):
    """Every purpose against every other, every audience against every other."""
    def own(what, name):
        nonce = fixed(f"nonce own {what} {name}", s.nonce_size)
        s.add(f"{what}-{name or 'own'}", f"Sealed for this {what}.", seal(s.key, ID, "", nonce=nonce, **{what: name}),
              ring=export(s.key, **{what: name}), made_from=(s.key.root, nonce, NOW), payload=ID)

    some = (PURPOSES, AUDIENCES) if s.letter == "X" else (PURPOSES[:4], AUDIENCES[:3])
    for what, names in zip(("purpose", "audience"), some):
        for mine in names:
            own(what, mine)
            for other in filter(lambda other: other != mine, names):
                token = seal(s.key, ID, f"{what} {other}", **{what: other})
                s.add(f"{what}-{other or 'own'}-for-{mine or 'own'}", f"Sealed for another {what}.", token,
                      ring=export(s.key, **{what: mine}), refused="tag")
    own("purpose", "p" * 32)
    own("audience", "a" * 64)
    for name, theirs, mine in [
        ("shifted", ("a", "b-c"), ("a-b", "c")), ("joined", ("ab", ""), ("a", "b")),
        ("exchanged", ("a", "b"), ("b", "a")), ("both", ("refresh", "billing"), ("access", "")),
    ]:
        token = seal(s.key, ID, f"both {name}", purpose=theirs[0], audience=theirs[1])
        s.add(f"binding-{name}", "Sealed for another purpose and audience, which joined might read the same.", token,
              ring=export(s.key, purpose=mine[0], audience=mine[1]), refused="tag")


FAMILIES = [age, age_at_the_edges, payload, binding]
