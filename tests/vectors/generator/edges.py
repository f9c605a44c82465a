"""Tokens whose tag, or the hash below it, has a chosen value: one block of the ciphertext is solved for.

The tag fits, so an opener must come as far as the payload, of which that block has made nonsense.
"""

import struct
from dataclasses import replace

from .sealing import TAG, aes, chacha_block, inner, seal

P = 2**130 - 5
ONES = 2**128 - 1
BLOCK = 2  # of the ciphertext, counted from 0: behind `issued_at` and before the end
PAYLOAD = '{"id":"42","about":"' + "x" * 60 + '"}'


def tokens(key):
    """(name, what it shows, token)."""
    solve = solve_poly if key.letter == "C" else solve_gcm
    values = {"zero": 0, "ones": ONES, "two-to-128": 2**128, "highest": P - 1}
    for what in ("tag", "hash"):
        for name, value in values.items():
            # Poly1305's hash has 130 bits; nothing else here has more than 128.
            if value <= ONES or (what, key.letter) == ("hash", "C"):
                comment = f"The {what} is {name}, and the tag fits; one block of the payload is nonsense."
                yield f"{what}-{name}", comment, solve(key, what, value)


def put(token, block):
    at = BLOCK * 16
    return replace(token, sealed=token.sealed[:at] + block + token.sealed[at + 16:])


def solve_gcm(key, what, value):
    token = seal(key, PAYLOAD, f"edge {what} {value}")
    below, nonce = inner(key.letter, key.derive("access", ""), token.nonce)
    mask = int.from_bytes(aes(below, nonce + b"\0\0\0\1"), "big")
    wanted = value if what == "tag" else value ^ mask
    h = int.from_bytes(aes(below, bytes(16)), "big")
    # The block is followed by the others and the lengths, so its coefficient is H to their number and one.
    power = len(token.sealed[BLOCK * 16:]) // -16 * -1 + 1
    change = gf_times(wanted ^ int.from_bytes(token.tag, "big"), gf_power(h, -power % (2**128 - 1)))
    old = int.from_bytes(token.sealed[BLOCK * 16:BLOCK * 16 + 16], "big")
    return replace(put(token, (old ^ change).to_bytes(16, "big")), tag=wanted.to_bytes(TAG, "big"))


def gf_times(a, b):
    """In GF(2^128) as GHASH has it: the first bit is the lowest power (NIST SP 800-38D, 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        product ^= a * (b >> bit & 1)
        a = a >> 1 ^ (a & 1) * (0xE1 << 120)
    return product


def gf_power(a, exponent):
    result = 1 << 127
    for bit in bin(exponent)[2:]:
        result = gf_times(result, result)
        result = gf_times(result, a) if bit == "1" else result
    return result


def solve_poly(key, what, value):
    for attempt in range(1000):
        token = seal(key, PAYLOAD, f"edge {what} {value} {attempt}")
        below, nonce = inner(key.letter, key.derive("access", ""), token.nonce)
        one_time = chacha_block(below, bytes(4) + nonce)
        r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
        s = int.from_bytes(one_time[16:32], "little")
        hash_ = value if what == "hash" else (value - s) % 2**128
        blocks = poly_blocks(token.magic + token.kid, token.sealed)
        place = 1 + BLOCK  # behind the block of the associated data
        rest = sum(block * pow(r, len(blocks) - at, P) for at, block in enumerate(blocks) if at != place)
        block = (hash_ - rest) * pow(r, place - len(blocks), P) % P
        if block >> 128 == 1:  # what 16 bytes can be
            solved = put(token, (block - 2**128).to_bytes(16, "little"))
            return replace(solved, tag=((hash_ + s) % 2**128).to_bytes(TAG, "little"))
    raise AssertionError("one attempt in four succeeds")


def poly_blocks(header, sealed):
    """RFC 8439, 2.8, as Poly1305 reads it: each block with a one above it."""
    padded = b"".join(part + bytes(-len(part) % 16) for part in (header, sealed))
    padded += struct.pack("<QQ", len(header), len(sealed))
    return [int.from_bytes(padded[at:at + 16], "little") + 2**128 for at in range(0, len(padded), 16)]
