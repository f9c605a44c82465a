"""Opens and seals Bulla's tokens with keys from `bulla keys export`.

Read it in this order: `wire` (the layout), `suites` (the ciphers), `strict` (the JSON that is accepted),
`export` (what is read), `keys` (open and seal), `key_file` (an export that is followed), `openers` (several exports).
"""

from .export import BadExport
from .key_file import KeyFile
from .keys import Keys, Opened, Refused, SealError
from .openers import Openers

__all__ = ["BadExport", "KeyFile", "Keys", "Opened", "Openers", "Refused", "SealError"]
