"""Combines several exports into one opener: for tokens of people and of machines, or of several audiences."""

from .key_file import KeyFile
from .keys import Keys, Opened, Refused

_UNDECIDED = ("unknown_key", "suite", "unsupported", "length", "tag")
"""The reasons for which another export may still open the token, in the order of an opener's checks."""


class Openers:
    """Opens a token with the first of several exports whose key verifies it.

    `Opened.purpose` and `Opened.audience` say which export that is.
    """

    def __init__(self, first: Keys | KeyFile, *others: Keys | KeyFile) -> None:
        self._openers = (first, *others)

    @property
    def purpose(self) -> str:
        """The purpose of the first export, which `Bearer` admits by default."""
        return self._openers[0].purpose

    def open(self, token: str, now: int | None = None) -> Opened:
        """As `Keys.open`.

        If no export verifies the token, the reason is that of the export that got furthest in its checks.
        """
        furthest: Refused | None = None
        for opener in self._openers:
            try:
                return opener.open(token, now)
            except Refused as refused:
                if refused.reason not in _UNDECIDED:
                    raise
                if furthest is None or _rank(refused) > _rank(furthest):
                    furthest = refused
        assert furthest is not None  # there is a first opener
        raise furthest


def _rank(refused: Refused) -> int:
    return _UNDECIDED.index(refused.reason)
