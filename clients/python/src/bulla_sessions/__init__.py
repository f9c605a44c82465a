"""Opens and seals Bulla's tokens with keys from `bulla keys export`.

Read the modules in this order: `wire` (the layout), `suite` (the ciphers), `payload` (the accepted JSON), `export`
(reading an export), `keys` (open and seal), `key_file` (an export file that is reloaded), `openers` (several exports).
"""

from .export import BadExport
from .key_file import KeyFile
from .keys import Keys, Opened, Refused, SealError
from .openers import Openers

__all__ = ["BadExport", "KeyFile", "Keys", "Opened", "Openers", "Refused", "SealError"]
