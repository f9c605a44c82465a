"""The token's text: truncations, other spellings of one token, lengths."""

from .case import ID
from .sealing import b64, seal

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def truncations(s):
    good = s.good.text
    cuts = [("empty", ""), ("one-character", good[:1]), ("magic-only", good[:4]), ("header-only", good[:10]),
            ("half", good[:len(good) // 2]), ("57", s.long.text[:57]), ("58", s.long.text[:58])]
    cuts += [(f"without-last-{n}", good[:-n]) for n in (1, 2, 3, 4, 8, 12)]
    for name, cut in cuts:
        s.add(f"text-cut-{name}", f"A token cut to {len(cut)} characters.", cut, refused=s.refusal_of(cut))
    s.add("text-cut-without-first-4", "A token without its first four characters.", s.long.text[4:], refused="magic")


def unused_bits(s):
    for token, bits in [(s.good, 4), (seal(s.key, '{"id":"042"}', "two unused bits"), 2)]:
        for bit in range(bits):
            last = ALPHABET[ALPHABET.index(token.text[-1]) ^ 1 << bit]
            s.add(f"text-unused-bit-{bit}-of-{bits}", "An unused bit of the last character is set.",
                  token.text[:-1] + last, refused="encoding")


def other_spellings(s):
    """None is base64url; which suite's token it would be plays no part, so these stand once."""
    if s.letter != "X":
        return
    good, at = s.good.text, 40
    for name, comment, text in [
        ("padded-1", "A padding character.", good + "="),
        ("padded-2", "Padding as base64 asks for.", good + "=="),
        ("padded-percent", "Padding, percent-encoded.", good + "%3D%3D"),
        ("plus", "The other alphabet's `+`.", good.replace("-", "+")),
        ("slash", "The other alphabet's `/`.", good.replace("_", "/")),
        ("blank-before", "A blank before.", " " + good),
        ("blank-behind", "A blank behind.", good + " "),
        ("blank-inside", "A blank inside.", good[:at] + " " + good[at:]),
        ("tab-behind", "A tab behind.", good + "\t"),
        ("lf-before", "A line feed before.", "\n" + good),
        ("lf-behind", "A line feed behind, as a file has it.", good + "\n"),
        ("lf-inside", "Wrapped at 64 characters.", good[:64] + "\n" + good[64:]),
        ("cr-behind", "A carriage return behind.", good + "\r"),
        ("crlf-behind", "A carriage return and a line feed behind.", good + "\r\n"),
        ("nul-behind", "A NUL behind.", good + "\0"),
        ("nul-inside", "A NUL in place of a character.", good[:at] + "\0" + good[at + 1:]),
        ("vertical-tab", "A vertical tab behind.", good + "\v"),
        ("bom", "A byte order mark before.", "\ufeff" + good),
        ("no-break-space", "A no-break space behind.", good + "\u00a0"),
        ("zero-width", "A zero-width space inside.", good[:at] + "\u200b" + good[at:]),
        ("percent", "A character percent-encoded.", good.replace("-", "%2D")),
        ("percent-first", "The first character percent-encoded.", "%62" + good[1:]),
        ("accent", "A letter beyond ASCII.", good[:at] + "é" + good[at + 1:]),
        ("cyrillic", "A Cyrillic letter that looks like an A.", good[:at] + "\u0410" + good[at + 1:]),
        ("fullwidth", "A fullwidth letter in the magic.", "\uff42" + good[1:]),
        ("emoji", "A character beyond U+FFFF.", good[:at] + "\U0001f511" + good[at + 1:]),
        ("dot", "A dot in place of a character.", good[:at] + "." + good[at + 1:]),
        ("tilde", "A tilde in place of a `-`.", good.replace("-", "~")),
        ("quoted", "Quotes around.", f'"{good}"'),
        ("bearer", "A header's scheme before.", "Bearer " + good),
        ("two-with-comma", "Two tokens, with a comma between.", good + "," + good),
        ("two-with-dot", "Two tokens, with a dot between.", good + "." + good),
        ("semicolon", "A cookie's semicolon behind.", good + ";"),
    ]:
        s.add(f"text-{name}", comment, text, refused="encoding")


def other_texts(s):
    good = s.good.text
    swapped = good[:12] + good[12:-2].swapcase() + good[-2:]
    s.add("text-good", "What the other texts are spelled from opens.", good, payload=ID)
    for name, comment, text, refused in [
        ("one-more", "One more character.", good + "A", "tag"),
        ("four-more", "Four more characters.", good + "AAAA", "tag"),
        ("twice", "Two tokens joined.", good + good, "tag"),
        ("swapped-case", "Letters behind the header in the other case.", swapped, "tag"),
        ("upper-case", "Letters in upper case.", good[:-1].upper() + good[-1], "magic"),
        ("encoded-twice", "A token encoded once more.", b64(good.encode()), "magic"),
        ("hex", "The bytes in hex.", s.good.bytes.hex(), "magic"),
        ("4097", "One character more than the longest.", "bul" + s.letter + "A" * 4093, "length"),
    ]:
        s.add(f"text-{name}", comment, text, refused=refused)


def lengths(s):
    """The shortest, the longest, and what lies about the blocks and batches of an AEAD."""
    shortest = seal(s.key, "{}", "shortest")
    s.add("length-shortest", f"The shortest token of this suite, {len(shortest.text)} characters.", shortest,
          payload="{}")
    s.add("length-no-payload", "Sealed around nothing; under suite A that is shorter than any token.",
          seal(s.key, "", "no payload"), refused="length" if s.letter == "A" else "payload")
    s.add("length-no-time", "Sealed, but too short to hold a time.",
          seal(s.key, "", "no time", issued_at=bytes(5)), refused="length")

    def of(length):
        return '{"a":"' + "x" * (length - 6 - 8) + '"}'

    longest = 3072 - s.least + 6
    for length in (15, 16, 17, 31, 32, 33, 224, 225, 240, 241, 256, 257, 1024, longest):
        token = seal(s.key, of(length), f"length {length}")
        s.add(f"length-{length}", f"{length} bytes are sealed.", token, payload=of(length))
    s.add("length-4098", "Sealed by the rules, and two characters longer than a token may be.",
          seal(s.key, of(longest + 1), "length 4098"), refused="length")


FAMILIES = [truncations, unused_bits, other_spellings, other_texts, lengths]
