"""A store that was lost: what its file holds is not all that was kept in its place before.

Found when it is opened, by the mark beside it and by what processes have left there. All slots are out for one hold
then, since nobody knows what was sent, and what is sent may exist already until a run has ended cleanly.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from orchestrator.core import plural

LENGTH = 128
"""Bytes of a mark, filled up with spaces: a shorter text leaves nothing of a longer one behind it."""

EMPTIED = "it is empty, and there was a store here before: the file was removed, renamed or emptied"

REPLACED = "another store was here before: the file was replaced"

MIXED = "its file was replaced while the log beside it (-wal) was left"

PUT_BACK = "it was put back as it was at"

UNLOGGED = "its log (-wal) is missing, and a process that used it did not end cleanly"


class Mark(NamedTuple):
    """How far a store had come when something was last committed to it.

    `file` is the inode number of the store's file then, `own` that of the mark's: another one says that the mark was
    copied, with all that lay beside it.
    """

    identity: str
    changes: int
    file: int
    own: int

    def encode(self) -> bytes:
        """The mark as its file has it, with a checksum: it may be read while another process writes it."""
        text = f"{self.identity} {self.changes} {self.file} {self.own}"
        return f"{text} {zlib.crc32(text.encode())}".ljust(LENGTH - 1).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Mark | None:
        """The mark in this content, None where there is none or only a part of one."""
        try:
            identity, *numbers = content.decode("ascii").split()
            changes, file, own, _ = map(int, numbers)
        except ValueError:
            return None
        mark = cls(identity=identity, changes=changes, file=file, own=own)
        return mark if mark.encode() == content else None


class Leftovers(NamedTuple):
    """The files that lie beside a store when it is opened.

    `logged`: a log with something in it. `used`: a lock file of a process, living or dead. `replaced`: the store's
    file is another one than when the mark was written.
    """

    mark: Mark | None
    logged: bool
    used: bool
    replaced: bool

    def find_loss(self, *, new: bool, identity: str = "", changes: int = 0) -> str:
        """The cause for which a store is not what was kept here, or '' where it is, as far as anybody can tell.

        `new`: it had no tables yet; the rest is what it says of itself.
        """
        mark = self.mark
        if new:
            return EMPTIED if mark is not None or self.used else ""
        if mark is None:
            return UNLOGGED if self.used and changes and not self.logged else ""
        if mark.identity != identity:
            return REPLACED
        if mark.changes > changes:
            missing = plural(mark.changes - changes, "change")
            return f"its last {missing} are missing: an older copy was put back, or its log (-wal) was removed or cut"
        return MIXED if self.replaced and self.logged else ""


# -- the statements ----------------------------------------------------------------------------------------

NOTE_LOSS = "UPDATE meta SET lost_cause = :cause, lost_at = :now, lost_wall = :wall, clean_wall = NULL"

LOSS = "SELECT lost_cause, lost_wall, clean_wall FROM meta WHERE lost_wall IS NOT NULL"

LOST_AT = "SELECT lost_at FROM meta WHERE lost_at IS NOT NULL"

# A run has ended with all of its snapshots made, some of them since: one that only knew of older ones says nothing.
END_LOSS = """
UPDATE meta SET clean_wall = :wall WHERE lost_wall IS NOT NULL AND clean_wall IS NULL
  AND EXISTS (
    SELECT 1 FROM run_task r JOIN task t ON t.id = r.task WHERE r.run = :run AND t.settled_wall >= meta.lost_wall)
  AND NOT EXISTS (
    SELECT 1 FROM run_task r JOIN task t ON t.id = r.task WHERE r.run = :run AND t.status <> 'created')"""

# Runs come with what is known of a loss.
GRANTING_RUNS = """
SELECT r.id, r.state, r.created_at, m.lost_at, m.lost_wall, m.clean_wall FROM run r CROSS JOIN meta m
WHERE r.id = ANY(:runs)"""

NAME_STORE = "UPDATE meta SET identity = :identity WHERE identity IS NULL"

COUNT_CHANGE = """
UPDATE meta SET changes = changes + 1, boot_id = :boot_id, last_at = :now, last_wall = :wall"""
