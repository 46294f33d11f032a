"""Which processes live that use a SQLite store: each holds an exclusive lock on a file beside it.

Process ids say nothing between containers, a lock does: the kernel lets go of it when its process ends,
however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.core import Clock, SystemClock
from orchestrator.store.database import Claim

OPENING = "opening"
"""The file whose lock is held while a store is opened."""

SHARED = "shared"
"""The file whose lock is shared by all who have the store open to write, from then on until they close it."""

NEXT, TURN = "next", "turn"
"""The files whose locks have those who write one after the other: the one that is next, and the one whose turn it is."""

OF_ALL = (OPENING, SHARED, NEXT, TURN)
"""The files that are nobody's own."""

PATIENCE = 5.0
"""Seconds to wait for one's turn; SQLite's own lock is what counts, and is waited for in any case."""

LONGEST_PAUSE, SHORTEST_PAUSE, AGING = 0.004, 0.0005, 0.1
"""Seconds between two looks at a turn, at first and at last, and after which they are half as long: who has waited for
longer looks more often. SQLite's own pauses grow, to a tenth of a second: with 32 processes somebody waited for 33 s."""


SOON, OFTEN = 1.0, 60.0
"""Seconds after which it is said first, and then again, who has locked what is waited for: most have done in a moment."""

LOOK = 0.01
"""Seconds between two looks at a lock that another process has: an opening takes about as long."""

LONGEST_HOLDER = 4096
"""Bytes that are read of what a holder says of itself."""


class Holder(NamedTuple):
    """The process that has locked the opening of a store: what it `does` there, and since when (epoch seconds)."""

    does: str
    pid: int
    host: str
    since: float


OnHeld = Callable[[Holder | None], None]
"""Called while the opening of a store is waited for, with who has it locked; None where that one does not say."""


class Owners:
    """The folder of lock files beside a store."""

    def __init__(self, store: Path, *, on_held: OnHeld = lambda _: None, clock: Clock | None = None) -> None:
        self._folder = store.with_name(f"{store.name}.owners")
        self._on_held, self._clock = on_held, clock or SystemClock()
        self._owner = secrets.token_hex(8)
        self._file: int | None = None
        self._share: int | None = None
        self._taken = 0

    def claim(self) -> Claim:
        """This process's id, locked from the first call on; its file is made again where somebody removed it."""
        if self._file is None or not self._is_named(self._owner, self._file):
            removed, self._file = self._file, self._lock(self._owner)
            self._taken += 1
            if removed is not None:
                os.close(removed)
        return Claim(owner=self._owner, taken=self._taken)

    @contextlib.contextmanager
    def lock_opening(self, does: str) -> Iterator[None]:
        """Open the store one process after the other: SQLite does not wait when its journal's mode is set.

        Those who wait meanwhile are told what this process `does` with it.
        """
        file = self._lock(OPENING)
        try:
            _write_holder(
                file, Holder(does, pid=os.getpid(), host=os.uname().nodename, since=self._clock.wall())
            )
            yield
        finally:
            os.close(file)

    def _lock(self, name: str) -> int:
        """Make a file of the folder and lock it, again if it was removed before the lock was there; its descriptor."""
        while True:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the folder was removed at this moment
                file = os.open(self._folder / name, os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    self._wait_for(file)
                    if self._is_named(name, file):
                        return file
                except BaseException:
                    os.close(file)
                    raise
                os.close(file)

    def _wait_for(self, file: int) -> None:
        """Lock a file; who has it is said while that lasts."""
        due = self._clock.boot() + SOON
        while not _has_locked(file):
            if (now := self._clock.boot()) >= due:
                self._on_held(_read_holder(file))
                due = now + OFTEN
            self._clock.sleep(LOOK)

    def _is_named(self, name: str, file: int) -> bool:
        """True if the opened file is still the one of this name."""
        try:
            return os.path.samestat((self._folder / name).stat(), os.fstat(file))
        except FileNotFoundError:
            return False

    def left_behind(self) -> bool:
        """True if a process, living or dead, has a lock file here: it did not end cleanly, or not yet."""
        return bool(self._list_owners())

    def share(self) -> None:
        """Have the store open to write from here on, as others see it; only with its opening locked."""
        self._share = os.open(self._folder / SHARED, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._share, fcntl.LOCK_SH)

    def find_company(self) -> bool:
        """True if another process has the store open to write, whatever a store says of it; its opening is locked.

        A lock file tells it, too: somebody may have removed the file that is shared, and lock files are made again.
        """
        lives = any(owner != self._owner and self.alive(owner) for owner in self._list_owners())
        return lives or self._is_shared()

    def _is_shared(self) -> bool:
        if self._share is None:
            return False
        try:
            fcntl.flock(self._share, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            fcntl.flock(self._share, fcntl.LOCK_SH)
        return False

    def forget_all(self) -> None:
        """Remove the lock files of all dead owners."""
        for owner in self._list_owners():
            self.forget(owner)

    def _list_owners(self) -> list[str]:
        """The owners that have a lock file here."""
        with contextlib.suppress(OSError):
            return [file.name for file in self._folder.iterdir() if file.name not in OF_ALL]
        return []

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
        """Remove the lock file of a dead owner, or one's own at the end; one that is locked again stays."""
        if owner == self._owner or not self.alive(owner):
            (self._folder / owner).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of this process's locks."""
        for file in (self._file, self._share):
            if file is not None:
                os.close(file)
        self._file = self._share = None


class Turns:
    """The turns of processes that write to a SQLite store, each of which takes some milliseconds.

    Who has had one and wants another waits behind the one that is next already. A file that somebody removes, or a
    process that stands still in its turn, costs the others their patience and nothing else.
    """

    def __init__(self, store: Path, clock: Clock) -> None:
        self._folder, self._clock = store.with_name(f"{store.name}.owners"), clock
        self._files: list[int] = []

    def open(self) -> None:
        """Open the files, once; without them there are no turns."""
        self._files = [os.open(self._folder / name, os.O_CREAT | os.O_RDWR, 0o600) for name in (NEXT, TURN)]

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Wait for this process's turn, and have it for as long as the block."""
        ends = self._clock.boot() + PATIENCE
        try:
            for file in self._files:
                self._wait_for(file, ends)
            self._release(self._files[:1])  # somebody else is next now
            yield
        finally:
            self._release(self._files)

    @staticmethod
    def _release(files: Iterable[int]) -> None:
        for file in files:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _wait_for(self, file: int, ends: float) -> None:
        """Lock a file; without a lock once it has taken too long."""
        began = self._clock.boot()
        while (now := self._clock.boot()) < ends and not _has_locked(file):
            self._clock.sleep(pause(now - began))

    def close(self) -> None:
        """Let the files go."""
        for file in self._files:
            os.close(file)
        self._files = []


def _has_locked(file: int) -> bool:
    """Lock a file unless another process has; True if this one has it now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(file: int, holder: Holder) -> None:
    """Say in a locked file who has it, as far as its disk takes that."""
    with contextlib.suppress(OSError), open(file, "r+", encoding="utf-8", closefd=False) as text:
        text.truncate()
        json.dump(holder._asdict(), text)


def _read_holder(file: int) -> Holder | None:
    """The process that has a file locked, as it wrote there; None where it wrote nothing, or is about to."""
    try:
        return Holder(**json.loads(os.pread(file, LONGEST_HOLDER, 0)))
    except (ValueError, TypeError):
        return None


def pause(waited: float) -> float:
    """How long somebody waits before the next look, who has waited for so long."""
    return max(SHORTEST_PAUSE, LONGEST_PAUSE / (1 + waited / AGING))
