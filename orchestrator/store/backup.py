"""A copy of a SQLite store, taken while others work on it, and a store that was put back from one.

A copy has one table more than a store, by which it is known: nobody takes it for the store itself, which has gone on
since. What was granted, sent and made after it was taken is not in it. So a store that is put back is a lost one
(`orchestrator.store.loss`): all slots are out for one hold, what was under way is uncertain, and what is sent may exist.
Whoever is killed leaves either no file of the name or a whole one. Why: docs/decisions/0024-a-backup-is-no-store.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from orchestrator.core import Clock, StoreUnavailable, StoreUnusable, UsageError, utc_text
from orchestrator.store import loss, reboot, schema, sql
from orchestrator.store.address import read_address, sqlite_address
from orchestrator.store.database import Database, Transaction
from orchestrator.store.files import MOUNTS, refuse_network
from orchestrator.store.locks import OnHeld, Owners
from orchestrator.store.sqlite import BACKUP, SERIAL, SqliteTransaction, connect, explain, read_version

MARK = f"CREATE TABLE {BACKUP} (taken_wall DOUBLE PRECISION NOT NULL)"

NOTE_TAKEN = f"INSERT INTO {BACKUP} (taken_wall) VALUES (?)"  # noqa: S608 - a name of ours

TAKEN = f"SELECT taken_wall FROM {BACKUP}"  # noqa: S608 - the same

UNMARK = f"DROP TABLE {BACKUP}"

# What was granted when the copy was taken may have been sent since: as if its first byte had left.
DOUBT = """
UPDATE task SET status = 'sending', first_sent_at = COALESCE(first_sent_at, granted_at),
    sent_wall = COALESCE(sent_wall, granted_wall)
WHERE status = 'leased'"""

BEGINNING, ENDING = ".tesnap-", ".part"
"""The name of a file that is not whole yet."""

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""The errors of a file system on which a file has one name only."""


# -- taking one --------------------------------------------------------------------------------------------


def back_up(url: str, target: Path, clock: Clock) -> None:
    """Copy a store as it is at one moment into a new file, for nobody else to read; others go on meanwhile.

    UsageError for a file that is there, or a store that is no file; StoreUnusable or StoreUnavailable where it fails.
    """
    path = _sqlite_path(url, "back it up as the database it is in, with `pg_dump --schema=tesnap`")
    if os.path.lexists(target):
        raise UsageError(f"{target} is there already: a backup is never written over another file")
    with _translate_errors(f"copying {sqlite_address(path)} to {target}"), _draft(target) as draft:
        taken = clock.wall()  # before the copy's moment: nothing that was made until then is missing
        _copy(path, draft)
        with closing(connect(draft, read_only=False)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
            copy.execute(MARK)
            copy.execute(NOTE_TAKEN, (taken,))
        _sync(draft)
        _name(draft, target)
        _sync(target.parent)


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A file beside the target, which goes when the block ends; those that killed processes have left there go first.

    One process at a time has drafts in a folder. Where folders cannot be locked, as with NFS, nothing is cleared away.
    """
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
            for stray in target.parent.glob(f"{BEGINNING}*{ENDING}"):
                _remove(stray)
        file, name = tempfile.mkstemp(prefix=BEGINNING, suffix=ENDING, dir=target.parent)
        os.close(file)
        try:
            yield Path(name)
        finally:
            _remove(Path(name))
    finally:
        os.close(folder)


def _copy(source: Path, draft: Path) -> None:
    """Copy all pages in one step, which sees the store as it is when it begins; StoreUnusable for what is no store."""
    with (
        closing(connect(source, read_only=True)) as store,
        closing(connect(draft, read_only=False)) as copy,
    ):
        read_version(store, sqlite_address(source), "")
        store.backup(copy)


def _name(draft: Path, target: Path) -> None:
    """Give a whole file its name, which nobody may have taken meanwhile."""
    try:
        os.link(draft, target)
    except OSError as error:
        if error.errno not in NO_LINKS or os.path.lexists(target):
            raise
        draft.rename(target)


# -- putting one back --------------------------------------------------------------------------------------


def restore(url: str, source: Path, clock: Clock, *, on_held: OnHeld = lambda _: None) -> float:
    """Put a backup in the place of a store that is not there any more; when it was taken (epoch seconds).

    UsageError where there is a store, somebody works on one, or the file is no backup.
    """
    path = _sqlite_path(
        url, "put it back by the database's means, then say so with `tesnap restore --declare TIME`"
    ).resolve()
    taken = _read_taken(source)
    with _translate_errors(f"putting {source} back as {sqlite_address(path)}"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network(path, MOUNTS)
        with (
            closing(Owners(path, on_held=on_held)) as owners,
            owners.lock_opening("puts a backup in its place (tesnap restore)"),
        ):
            owners.share()
            _refuse_occupied(path, owners)
            with _draft(path) as draft:
                _copy(source, draft)
                _bring_back(draft, owners, clock, taken)
                _sync(draft)
                owners.forget_all()
                draft.replace(path)
                _sync(path.parent)
            path.with_name(f"{path.name}.mark").unlink(missing_ok=True)  # it was of the store before
    return taken


def _read_taken(source: Path) -> float:
    """When a backup was taken; UsageError for another file."""
    try:
        if source.stat().st_size:
            with closing(connect(source, read_only=True)) as copy:
                return float(copy.execute(TAKEN).fetchone()[0])
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from error
    except (sqlite3.Error, TypeError):
        pass
    raise UsageError(
        f"{source}: this is no backup that `tesnap backup` has made; a copy of a store that was made otherwise is put in its"
        " place by hand, and then made known with `tesnap restore --declare TIME`"
    )


def _refuse_occupied(path: Path, owners: Owners) -> None:
    """Raise UsageError where something would be lost, or where somebody may still send."""
    place = sqlite_address(path)
    if owners.find_company():
        raise UsageError(f"{place}: a process is at work on it: stop it first")
    names = [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-journal")]
    if any(name.exists() and name.stat().st_size for name in names):
        raise UsageError(
            f"{place}: there is a store already: move it away first, as in `mv {path} {path}.before`, and with it"
            f" {path.name}-wal or {path.name}-journal if there is one"
        )


def _bring_back(draft: Path, owners: Owners, clock: Clock, taken: float) -> None:
    """Make a store of a copy: whole, of this version, on the present boot clock, and known to lack what came later."""
    with closing(connect(draft, read_only=False)) as store:
        (found,) = store.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise StoreUnusable(f"the backup is damaged ({found}): use another one")
        store.execute("BEGIN IMMEDIATE")
        tx = SqliteTransaction(store, clock, owners)
        tx.change(UNMARK)
        schema.migrate(tx, str(draft), SERIAL, copy=True)
        if not tx.is_of_this_boot():
            reboot.rebase(tx)
        note_put_back(tx, taken)
        store.execute("COMMIT")


def note_put_back(tx: Transaction, taken: float) -> None:
    """Have a store know that it is as it was at this moment (epoch seconds), whatever was done since."""
    tx.change(DOUBT)
    cause = f"{loss.PUT_BACK} {utc_text(taken)}: what was made after that is not known"
    tx.change(loss.NOTE_LOSS, cause=cause, now=tx.now(), wall=tx.epoch())


def declare_put_back(database: Database, taken: float) -> None:
    """Note that a store was put back by other means; StoreUnavailable while processes are at work on it."""
    with database.write() as tx:
        for row in tx.rows(sql.OWNERS):
            if tx.alive(row["id"]):
                raise StoreUnavailable(
                    f"{database.describe()}: process {row['pid']} of {row['host']} is at work on it: stop it first"
                )
        note_put_back(tx, taken)


# -- files -------------------------------------------------------------------------------------------------


def _sqlite_path(url: str, instead: str) -> Path:
    address = read_address(url)
    if address.path is None:
        raise UsageError(f"the store is in PostgreSQL: {instead} (docs/store.md)")
    return address.path


def _sync(path: Path) -> None:
    """Have the disk know a file that no connection has open, or a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove(draft: Path) -> None:
    for ending in ("-journal", "-wal", "-shm", ""):  # the last one is what the next backup finds
        draft.with_name(f"{draft.name}{ending}").unlink(missing_ok=True)


@contextlib.contextmanager
def _translate_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        explain(error, doing)
    except OSError as error:
        raise StoreUnusable(f"{doing}: {error.strerror}") from error
