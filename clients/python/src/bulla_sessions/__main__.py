"""Opens or seals tokens on the command line: `python -m bulla_sessions open [KEYS]` and `python -m bulla_sessions seal [KEYS]`.

Each line of standard input is a token (`open`) or a payload (`seal`), and gives one line of output. KEYS is an export file. Without
it, the keys come from the variable BULLA_EXPORT. The exit code is 4 if a line was refused, 2 for wrong usage, and 1 if the keys can't
be read.
"""

import sys

from . import BadExport, KeyFile, Keys, Refused, SealError


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2) or arguments[0] not in ("open", "seal"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        keys = KeyFile(arguments[1]) if len(arguments) == 2 else Keys.from_env()
    except (OSError, BadExport) as error:
        print(f"bulla: {error}", file=sys.stderr)
        return 1
    code = 0
    # Bytes, split at LF only, so that a token with a CR is refused and not repaired.
    for line in sys.stdin.buffer:
        text = line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        try:
            said = keys.open(text).text if arguments[0] == "open" else keys.seal(text)
        except (Refused, SealError) as error:
            said, code = f"refused: {error.reason if isinstance(error, Refused) else error}", 4
        sys.stdout.buffer.write(said.encode("utf-8") + b"\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
