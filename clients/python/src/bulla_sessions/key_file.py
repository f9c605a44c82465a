"""An export file that is reloaded when it changes."""

import errno
import logging
import os
import stat
import threading
from collections.abc import Mapping
from typing import Any

from .export import BadExport
from .keys import Keys, Opened

_log = logging.getLogger("bulla")


class KeyFile:
    """The keys of an export file, which is read again when it changes.

    Each use reads the file's state from the file system (about a microsecond), so a new export is in force at once. If
    the new export is invalid, missing, or of another purpose or audience, the last good one stays in force, `fault`
    gives the reason, and a warning is logged once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `OSError` or `BadExport` if the file is not a valid export."""
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._keys = self._read()
        self.fault: str | None = None
        """The reason why the current file is not in force; None if it is in force."""

    @property
    def keys(self) -> Keys:
        """The keys in force now."""
        # A thread that finds the lock taken uses the last good keys; another thread is reading the new ones.
        if self._look() != self._stamp and self._lock.acquire(blocking=False):
            try:
                self._reload()
            finally:
                self._lock.release()
        return self._keys

    @property
    def purpose(self) -> str:
        """The purpose of the tokens; stays the same for the life of this object."""
        return self._keys.purpose

    def open(self, token: str, now: int | None = None) -> Opened:
        """Opens a token with the keys in force now; see `Keys.open`."""
        return self.keys.open(token, now)

    def seal(self, payload: Mapping[str, Any] | str, now: int | None = None) -> str:
        """Seals a payload with the keys in force now; see `Keys.seal`."""
        return self.keys.seal(payload, now)

    def _look(self) -> tuple[int, ...]:
        try:
            state = os.stat(self._path)
        except OSError as error:
            return (error.errno or -1,)
        return (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)

    def _read(self) -> Keys:
        # Opening a FIFO would wait for a writer.
        if not stat.S_ISREG(os.stat(self._path).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self._path)
        with open(self._path, "rb") as file:
            return Keys.from_bytes(file.read())

    def _reload(self) -> None:
        # The state is taken before the file is read, so that a change during the read is seen at the next use.
        self._stamp = self._look()
        try:
            keys = self._read()
            if (keys.purpose, keys.audience) != (self._keys.purpose, self._keys.audience):
                raise BadExport("it has another purpose or audience than before")
        except BadExport as error:
            self._keep(str(error))
        except OSError as error:
            # The error can disappear while the file's state stays the same, so the next use reads again.
            self._stamp = ()
            self._keep(str(error))
        else:
            self._keys, self.fault = keys, None

    def _keep(self, fault: str) -> None:
        if fault != self.fault:
            _log.warning("%s: %s; the last good keys stay in force", self._path, fault)
        self.fault = fault
