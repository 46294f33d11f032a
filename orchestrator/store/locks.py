"""Which processes live that use a SQLite store: each holds an exclusive lock on a file beside it.

Process ids say nothing between containers, a lock does: the kernel lets go of it when its process ends,
however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

OPENING = "opening"
"""The file whose lock is held while a store is opened."""


class Owners:
    """The folder of lock files beside a store."""

    def __init__(self, store: Path) -> None:
        self._folder = store.with_name(f"{store.name}.owners")
        self._owner: str | None = None
        self._file: int | None = None

    def claim(self) -> str:
        """This process's id, locked from the first call on. Ids are never used twice."""
        if self._owner is None:
            owner = secrets.token_hex(8)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(self._folder / owner, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._owner = owner
        return self._owner

    @contextlib.contextmanager
    def lock_opening(self) -> Iterator[None]:
        """Open the store one process after the other: SQLite does not wait when its journal's mode is set."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self._folder / OPENING, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def alive(self, owner: str) -> bool:
        """True if the owner's lock is held by a living process; one that may not be looked at is taken to be."""
        try:
            return self._is_locked(owner)
        except PermissionError:
            return True

    def others(self, owners: Iterable[str]) -> set[str]:
        """Those that are other living processes for sure."""
        found = set()
        for owner in owners:
            with contextlib.suppress(PermissionError):
                if owner != self._owner and self._is_locked(owner):
                    found.add(owner)
        return found

    def _is_locked(self, owner: str) -> bool:
        try:
            file = os.open(self._folder / owner, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def forget(self, owner: str) -> None:
        """Remove the lock file of a dead owner, or one's own at the end."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / owner).unlink()

    def close(self) -> None:
        """Let go of this process's lock."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._owner = None
