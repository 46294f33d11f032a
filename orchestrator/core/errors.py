"""Every error this program raises on purpose, and the exit codes.

    TesnapError
    ├── UsageError                 wrong usage or input; nothing was sent            exit code 2
    │   ├── JobFileError           a job file with errors, all of them, each located
    │   ├── WindowError            a time window that cannot be used, with the key at fault
    │   ├── CredentialError        a missing or malformed API token
    │   ├── SelectionError         no test matches, or too many
    │   └── StoreUnusable          the store cannot be written, or is too new; StoreTrouble as well
    ├── AccessRefused              what has to be read first may not be             exit code 4
    ├── ApiUnavailable             what has to be read first cannot be for now      exit code 5
    ├── StoreTrouble               what a run that has begun waits out
    │   └── StoreUnavailable       the store does not answer for now                 exit code 5
    │       └── StoreGone          its file is not the one that was opened any more  exit code 5
    ├── LeaseLost                  the lease belongs to somebody else by now
    └── GrantStale                 too late after the grant to send the first byte

Whoever raises says what happened, to what, and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; the README documents them."""

    DONE = 0
    BROKEN = 1
    WRONG_USAGE = 2
    NOT_ALL_MADE = 3
    REFUSED = 4
    STOPPED_EARLY = 5


class TesnapError(Exception):
    """The root of all errors raised on purpose."""


class UsageError(TesnapError):
    """The input cannot be used; nothing was sent."""


class WindowError(UsageError, ValueError):
    """A time window cannot be used as it is written.

    `key` is the window's key at fault (`start`, `last`, `fit`, ...), None for the window as a whole.
    """

    def __init__(self, text: str, *, key: str | None = None) -> None:
        super().__init__(text)
        self.key = key


class CredentialError(UsageError):
    """An API token is missing or malformed. Its text is never part of the message."""


class SelectionError(UsageError):
    """No test is meant by the selectors, or more than allowed."""


class StoreTrouble(TesnapError):
    """The store fails. Once a run has begun, one that became unwritable is waited for like one that does not answer."""


class StoreUnusable(UsageError, StoreTrouble):
    """The store cannot be used as it is: unwritable, corrupt, of another version, or in use by another clock."""


@dataclass(frozen=True, slots=True, order=True)
class Located:
    """One error or warning in a file, with its place (lines and columns count from 1)."""

    file: str
    line: int
    column: int
    text: str
    level: str = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.text}"


class JobFileError(UsageError):
    """A job file with errors: all of them at once."""

    def __init__(self, errors: tuple[Located, ...]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


class AccessRefused(TesnapError):
    """The token lacks a permission for what has to be read before anything can be sent."""


class ApiUnavailable(TesnapError):
    """Lists that have to be read before anything can be sent cannot be read for now: the API does not answer, or fails."""


class StoreUnavailable(StoreTrouble):
    """The store does not answer for now; nothing is sent without it."""


class RunBeingPlanned(StoreUnavailable):
    """Another process is storing the plan of the same run at this moment: it is there to be carried on soon."""


class StoreGone(StoreUnavailable):
    """The store's file was moved, replaced, removed or written over: this process grants nothing more."""


class LeaseLost(TesnapError):
    """The lease was taken over: this process's view of the task is out of date."""


class GrantStale(TesnapError):
    """More than half the grace has passed since the grant: the first byte must not leave."""
