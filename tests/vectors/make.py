#!/usr/bin/env python3
"""Writes the vectors beside this file, from docs/token.md and not from the code they test.

    python3 make.py           writes every file anew and removes those it doesn't make
    python3 make.py --check   writes nothing; names what differs, and exits with 1 if anything does

Needs the `cryptography` package. Nothing is random: the same bytes come out every time.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from generator import judged, sealed, spelling  # noqa: E402
from generator.case import ID, VECTORS, Suite, export, vector  # noqa: E402
from generator.sealing import NONCE, NOW, SUITES, Key, check_published, seal  # noqa: E402

HERE = Path(__file__).resolve().parent
SID = '"sid":"0t4mBqJkT0WQfqk7mFZQ1g"'
GOLDEN = [
    ("X", "access", "", ID),
    ("X", "access", "billing", f'{{"id":"42",{SID},"roles":["admin","ops"]}}'),
    ("A", "access", "", ID),
    ("A", "refresh", "", f'{{"id":"ada",{SID},"gen":7,"key":"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM"}}'),
    ("C", "access", "", ID),
    ("C", "service", "shop.example", f'{{"id":"client:cron",{SID},"scope":"read"}}'),
]


def golden():
    """The six tokens the specification was first tried on; two programs besides this one have made the same bytes."""
    for number, (letter, purpose, audience, payload) in enumerate(GOLDEN):
        key = Key(letter, bytes((16 * number + 7 * at) % 256 for at in range(32)))
        nonce = bytes(number + 3 * at for at in range(NONCE[letter]))
        token = seal(key, payload, "", NOW + number, purpose, audience, nonce=nonce)
        name = "-".join(filter(None, ["golden", letter.lower(), purpose, audience]))
        ring = export(key, purpose=purpose, audience=audience)
        vector(name, f"A token of {SUITES[letter]} from its root key on.", ring, token, now=NOW + number,
               made_from=(key.root, nonce, NOW + number), payload=payload)


def make():
    check_published()
    golden()
    for suite in map(Suite, SUITES):
        for family in spelling.FAMILIES + sealed.FAMILIES + judged.FAMILIES:
            family(suite)
    return {f"{name}.json": json.dumps(case, indent=2) + "\n" for name, case in VECTORS.items()}


def main():
    made = make()
    there = {path.name: path.read_text(encoding="utf-8") for path in HERE.glob("*.json")}
    differ = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
    if "--check" in sys.argv[1:]:
        for name in differ:
            print(f"{name} differs from what make.py makes", file=sys.stderr)
        return 1 if differ else 0
    for name in differ:
        if name in made:
            (HERE / name).write_text(made[name], encoding="utf-8")
        else:
            (HERE / name).unlink()
    refusals = sum("refused" in case for case in VECTORS.values())
    print(f"{len(made)} vectors, {refusals} of them refusals; {len(differ)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
