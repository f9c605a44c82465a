"""What the tag vouches for: header, nonce, ciphertext, the tag itself, and the key."""

from dataclasses import replace

from . import edges
from .case import ID, LONG, export, flipped
from .sealing import NOW, TAG, Key, aead, fixed, hkdf, seal, unb64


def magic(s):
    for text in ["bulB", "bul" + s.low, "buka", "AAAA", "eyJh", "____"]:
        s.add(f"magic-{text.strip('_') or 'ones'}", f"The magic `{text}`.", text + s.good.text[4:], refused="magic")
    for at in range(3):
        # Not the bit in which A and C differ: that is another suite's letter.
        wrong = s.good.magic[:at] + bytes([s.good.magic[at] ^ 8]) + s.good.magic[at + 1:]
        s.add(f"magic-flip-{at}", f"A bit of the magic's byte {at} is flipped.",
              replace(s.good, magic=wrong), refused="magic")
    for letter in s.other_letters:
        s.add(f"letter-{letter.lower()}", "Another suite's letter than the key's.",
              replace(s.long, magic=unb64("bul" + letter)), refused="suite")


def kid(s):
    for at in range(4):
        s.add(f"kid-flip-{at}", f"A bit of the kid's byte {at} is flipped.",
              replace(s.good, kid=flipped(s.good.kid, at)), refused="unknown_key")
    for name, wrong in [("zero", bytes(4)), ("ones", b"\xff" * 4), ("reversed", s.good.kid[::-1])]:
        s.add(f"kid-{name}", "A kid that no key has.", replace(s.good, kid=wrong), refused="unknown_key")
    s.add("kid-revoked", "Sealed under a key that was revoked or deleted since: it isn't in the export.",
          seal(s.third, ID, "revoked"), refused="unknown_key")
    s.add("kid-no-keys", "The export holds no key at all.", s.good, ring=export(), refused="unknown_key")
    s.add("kid-of-another-installation", "Sealed by another installation, under the kid of a key of ours.",
          replace(seal(s.third, ID, "elsewhere"), kid=s.key.kid), refused="tag")
    for state in ("staged", "active", "retired"):
        others = (replace(s.key, state="retired" if state == "active" else "active"), s.other)
        key = replace(s.third, state=state)
        s.add(f"kid-{state}", f"Sealed under a key that is {state}; it stands last.", seal(key, ID, state),
              ring=export(*others, key), payload=ID)


def header(s):
    whole = s.good.magic + s.good.kid
    s.add("header-of-another-key", "The header of one key's token before the body of another's.",
          replace(s.long, kid=s.other.kid), refused="tag")
    lines = s.ring["keys"]
    twins = s.ring | {"keys": [lines[0], lines[1] | {"key": lines[0]["key"]}]}
    s.add("header-of-a-twin", "The kid of another key with the same bytes: the kid is authenticated.",
          replace(s.long, kid=s.other.kid), ring=twins, refused="tag")
    for letter in s.other_letters:
        key = Key(letter, fixed(f"root 1 {letter}", 32), "retired")
        s.add(f"header-of-suite-{letter.lower()}", "The header of another suite's token before the body of this one's.",
              replace(s.long, magic=unb64("bul" + letter), kid=key.kid), ring=export(s.key, key), refused="tag")
    for name, wrong in [
        ("none", b""), ("magic", s.good.magic), ("kid", s.good.kid), ("kid-and-magic", whole[3:] + whole[:3]),
        ("nonce-too", whole + fixed("nonce data nonce-too", s.nonce_size)), ("text", s.good.text[:10].encode()),
    ]:
        token = seal(s.key, ID, f"data {name}", header=wrong)
        s.add(f"associated-data-{name}", "Sealed with other associated data than the first 7 bytes.", token,
              refused="tag")


def nonce(s):
    good, half = s.good.nonce, s.nonce_size // 2
    for at in (0, half - 1, half, s.nonce_size - 1):
        s.add(f"nonce-flip-{at}", f"A bit of the nonce's byte {at} is flipped.",
              replace(s.good, nonce=flipped(good, at)), refused="tag")
    for name, comment, wrong in [
        ("of-another", "The nonce of another token.", s.long.nonce),
        ("zero", "The nonce is zero.", bytes(s.nonce_size)),
        ("halves", "The halves of the nonce are exchanged.", good[half:] + good[:half]),
        ("reversed", "The nonce's bytes are reversed.", good[::-1]),
        ("byte-less", "The nonce lacks its first byte.", good[1:]),
        ("byte-more", "The nonce has a zero byte more.", good + b"\0"),
    ]:
        s.add(f"nonce-{name}", comment, replace(s.good, nonce=wrong), refused="tag")


def ciphertext(s):
    long = s.long.sealed
    for at in (0, 5, 6, 15, 16, len(long) - 1):
        what = "time" if at < 6 else "payload"
        s.add(f"{what}-flip-{at}", f"A bit of the sealed byte {at} is flipped, which is of the {what}.",
              replace(s.long, sealed=flipped(long, at)), refused="tag")
    blocks = [long[at:at + 16] for at in range(0, len(long), 16)]
    for name, comment, wrong in [
        ("of-another", "The ciphertext of another token as long.", seal(s.key, LONG, "long again").sealed),
        ("blocks-exchanged", "Two blocks of the ciphertext are exchanged.", blocks[1] + blocks[0] + b"".join(blocks[2:])),
        ("block-less", "A block of the ciphertext is left out.", b"".join(blocks[:1] + blocks[2:])),
        ("block-more", "A block of the ciphertext stands twice.", b"".join(blocks[:2] + blocks[1:])),
        ("byte-less", "The last byte of the ciphertext is left out.", long[:-1]),
        ("byte-more", "The ciphertext has a zero byte more.", long + b"\0"),
        ("zero", "The ciphertext is zero.", bytes(len(long))),
        ("in-the-clear", "Nothing is encrypted.", NOW.to_bytes(6, "big") + LONG.encode()),
    ]:
        s.add(f"ciphertext-{name}", comment, replace(s.long, sealed=wrong), refused="tag")
    s.add("ciphertext-none", "There is no ciphertext.", replace(s.long, sealed=b""), refused="length")


def tag(s):
    good, long = s.good.tag, s.long.tag
    for at in range(TAG):
        s.add(f"tag-bit-{at}", f"A bit of the tag's byte {at} is flipped.",
              replace(s.good, tag=flipped(good, at)), refused="tag")
    for name, comment, wrong in [
        ("zero", "The tag is zero.", bytes(TAG)),
        ("ones", "The tag is all ones.", b"\xff" * TAG),
        ("inverted", "Every bit of the tag is flipped.", bytes(byte ^ 0xFF for byte in good)),
        ("high-bits", "The high bit of each byte of the tag is flipped.", bytes(byte ^ 0x80 for byte in good)),
        ("reversed", "The tag's bytes are reversed.", good[::-1]),
        ("rotated", "The tag is rotated by a byte.", good[1:] + good[:1]),
        ("halves", "The halves of the tag are exchanged.", good[8:] + good[:8]),
        ("first-half", "Only the first half of the tag fits.", good[:8] + bytes(8)),
        ("second-half", "Only the second half of the tag fits.", bytes(8) + good[8:]),
        ("of-another", "The tag of another token.", long),
    ]:
        s.add(f"tag-{name}", comment, replace(s.good, tag=wrong), refused="tag")
    for size in (0, 4, 8, 12, 15):
        s.add(f"tag-of-{size}-bytes", f"The tag is cut to {size} bytes.",
              replace(s.long, tag=long[:size]), refused="tag")
    s.add("tag-of-17-bytes", "The tag has a zero byte more.", replace(s.long, tag=long + b"\0"), refused="tag")
    s.add("tag-of-32-bytes", "The tag stands twice.", replace(s.long, tag=long + long), refused="tag")
    for name, comment, token in edges.tokens(s.key):
        s.add(f"edge-{name}", comment, token, refused="payload")


def derivation(s):
    """Keys that are nearly the right one."""
    root, letter, other = s.key.root, s.letter, s.other_letters[0]
    for name, comment, under in [
        ("root", "Sealed under the root key itself.", root),
        ("salted", "Derived with a salt.", hkdf(root, "bulla/v1", letter, "access", "", salt=b"bulla/v1")),
        ("letter", "Derived with another suite's letter.", hkdf(root, "bulla/v1", other, "access", "")),
        ("low-letter", "Derived with the letter in lower case.", hkdf(root, "bulla/v1", s.low, "access", "")),
        ("version", "Derived for another version.", hkdf(root, "bulla/v2", letter, "access", "")),
        ("no-audience", "Derived without the last zero byte.", hkdf(root, "bulla/v1", letter, "access")),
        ("exchanged", "Derived with purpose and audience exchanged.", hkdf(root, "bulla/v1", letter, "", "access")),
    ]:
        s.add(f"derived-{name}", comment, seal(s.key, ID, f"derived {name}", under=under), refused="tag")
    if letter == "A":
        return
    clear = NOW.to_bytes(6, "big") + LONG.encode()
    for name, half in [("first", s.long.nonce[:12]), ("last", s.long.nonce[12:])]:
        both = aead(letter, s.key.derive("access", "")).encrypt(half, clear, s.long.magic + s.long.kid)
        s.add(f"derived-plain-{name}", f"Sealed by the AEAD below, under the exported key and the nonce's {name} half.",
              replace(s.long, sealed=both[:-TAG], tag=both[-TAG:]), refused="tag")


FAMILIES = [magic, kid, header, nonce, ciphertext, tag, derivation]
