"""The store in one SQLite file: WAL, every commit synced, the kernel's boot clock as store time."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from orchestrator.core import Clock, StoreGone, StoreUnavailable, StoreUnusable, SystemClock
from orchestrator.store import loss, reboot, schema, sql
from orchestrator.store.address import sqlite_address
from orchestrator.store.database import Claim, Row, Seen, Size, Statement
from orchestrator.store.files import StoreFiles
from orchestrator.store.locks import OnHeld, Owners, Turns
from orchestrator.store.loss import Leftovers

BUSY = 10.0
"""Real seconds to wait for another process's transaction; one takes some milliseconds."""

BACKUP = "backup"
"""The table that only a backup has."""

WORTH_IT = 0.1
"""The share of a file that has to be free before it is written anew."""

sqlite3.register_adapter(list, json.dumps)  # SQLite reads lists by its function json_each

SERIAL = "INTEGER PRIMARY KEY"
"""A counted primary key."""

PASSING = {
    sqlite3.SQLITE_BUSY: f"another process has kept it locked for {BUSY:g} s; see whether one hangs",
    sqlite3.SQLITE_LOCKED: "another process has it locked; see whether one hangs",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_PROTOCOL: "other processes kept its log locked; see whether one hangs",
    sqlite3.SQLITE_NOMEM: "there is no memory left; make room",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
    sqlite3.SQLITE_SCHEMA: "its tables have just been changed",
    sqlite3.SQLITE_IOERR: "the disk fails or is full; see the system's log",
}
"""Errors that pass, or can be put right while a run waits."""

LASTING = {
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and may be written",
    sqlite3.SQLITE_PERM: "access is denied; check the permissions of the file and its folder",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup, or move it away and run again",
    sqlite3.SQLITE_NOTADB: "this is not a SQLite database; name another file, or move this one away",
}
"""Errors that have to be put right before the store is of use."""


class SqliteDatabase:
    """One connection to a SQLite file, and this process's lock beside it."""

    own_clock = True

    def __init__(
        self, path: Path, clock: Clock, *, read_only: bool = False, on_held: OnHeld = lambda _: None
    ) -> None:
        self._path, self._clock = path.resolve(), clock
        self._lock = threading.RLock()
        self._files, self._owners = StoreFiles(path), Owners(self._path, on_held=on_held)
        self._turns = Turns(self._path, SystemClock())
        self._identity, self._changes = "", 0
        self._connection: sqlite3.Connection
        refuse_foreign(self._path, self.describe())
        with self._translate_errors():
            if read_only:
                self._open_to_look()
            else:
                self._files.make()
                with self._translate_lock_errors(), self._owners.lock_opening("opens it"):
                    self._open_to_write()
                    self._owners.share()
                    self._turns.open()

    def describe(self) -> str:
        return sqlite_address(self._path)

    @contextlib.contextmanager
    def write(self) -> Iterator[SqliteTransaction]:
        with self._lock, self._translate_errors():
            with self._turns.take(), self._transaction("BEGIN IMMEDIATE") as tx:
                meta = tx.follow_boot(self.describe())
                self._refuse_older(meta)
                yield tx
                changed = tx.count_change()
            if changed:
                self._note({**meta, "changes": meta["changes"] + 1})

    @contextlib.contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        with self._lock, self._translate_errors(), self._transaction("BEGIN") as tx:
            yield tx

    def verify(self) -> None:
        name = self._files.find_moved()
        if not name:
            return
        with self._lock:  # its log is not mixed with what may be another's by now
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        raise StoreGone(
            f"{self.describe()}: {name} was renamed, replaced or removed while this process had it open; put it back"
            " and carry on, or leave the other one in its place and run the same command again"
        )

    def claim(self) -> Claim:
        with self._lock, self._translate_lock_errors():
            return self._owners.claim()

    def forget(self, owner: str) -> None:
        self._owners.forget(owner)

    def measure(self) -> Size:
        with self._lock, self._translate_errors():
            size, pages, free = (
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "freelist_count")
            )
        return Size(total=size * pages, free=size * free)

    def tidy(self, *, whole: bool) -> str:
        """Write the file anew only while nobody else may open the store: that takes its lock for as long as it lasts."""
        with self._lock, self._translate_errors():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        size = self.measure()
        if not whole or size.free < WORTH_IT * size.total:
            return ""
        with (
            self._translate_lock_errors(),
            self._owners.lock_opening("writes its file anew (tesnap prune)"),
        ):
            if self._owners.find_company():
                return "processes are at work on it"
            with self._lock, self._translate_errors():
                self._connection.execute(f"PRAGMA temp_store_directory = {_quoted(self._path.parent)}")
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return ""

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._files.close()
            self._owners.close()
            self._turns.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[SqliteTransaction]:
        """Commit when the block ends, roll back when it raises."""
        self._connection.execute(begin)
        try:
            yield SqliteTransaction(self._connection, self._clock, self._owners)
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # an error may have rolled back already
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            explain(error, self.describe())

    @contextlib.contextmanager
    def _translate_lock_errors(self) -> Iterator[None]:
        """Say what it means when the folder of lock files does not take one."""
        try:
            yield
        except OSError as error:
            problem = f"{self.describe()}: no lock file can be made beside it: {error.strerror}"
            raise StoreUnusable(problem) from error

    # -- opening it ----------------------------------------------------------------------------------------
    def _open_to_look(self) -> None:
        left = self._files.look_at_leftovers(used=self._owners.left_behind())
        with self._connected(connect(self._path, read_only=True)):
            found = read_version(self._connection, self.describe(), left.find_loss(new=True))
            with self.read() as tx:
                current = found >= schema.VERSION and tx.is_of_this_boot() and not tx.find_loss(found, left)
            if not current:
                self._use_a_copy(left)

    def _use_a_copy(self, left: Leftovers) -> None:
        """Bring a copy in memory forward instead of the store, into which a command that only looks writes nothing."""
        with contextlib.closing(self._connection) as store:
            self._have(_open(":memory:"))
            store.backup(self._connection)
        with self._transaction("BEGIN") as tx:
            tx.bring_forward(self.describe(), left, copy=True)
            if not tx.is_of_this_boot():
                reboot.rebase(tx)
        self._connection.execute("PRAGMA query_only = ON")

    def _open_to_write(self) -> None:
        """Open it, bring it forward, and see if anything of it was lost: one process after the other."""
        self._files.drop_strays()
        left = self._files.look_at_leftovers(used=self._owners.left_behind())
        with self._connected(connect(self._path, read_only=False)):
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction("BEGIN IMMEDIATE") as tx:
                tx.bring_forward(self.describe(), left)
                tx.follow_boot(self.describe())
                tx.count_change()
                meta = tx.meta()
            if changed := self._files.hold():
                raise StoreGone(f"{self.describe()}: {changed} was replaced while it was opened; try again")
            self._note(meta)

    @contextlib.contextmanager
    def _connected(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Have this connection, and close it when preparing it fails."""
        self._have(connection)
        try:
            yield
        except BaseException:
            self._connection.close()
            self._files.close()
            raise

    def _have(self, connection: sqlite3.Connection) -> None:
        """Use this connection, in which statements can ask for both clocks and for who lives."""
        connection.create_function("tesnap_now", 0, self._clock.boot)
        connection.create_function("tesnap_epoch", 0, self._clock.wall)
        connection.create_function("is_alive", 1, self._owners.alive)
        self._connection = connection

    # -- what this process last saw of it ------------------------------------------------------------------
    def _refuse_older(self, meta: Row) -> None:
        """Raise StoreGone when the store is older than it was, or another one: its file was written over."""
        opened = self._identity or meta["identity"]  # nothing was noted of what is only looked at
        if meta["identity"] != opened or meta["changes"] < self._changes:
            raise StoreGone(
                f"{self.describe()}: an older copy or another store was written over it while this process had it open;"
                " run the same command again"
            )
        self._changes = meta["changes"]

    def _note(self, meta: Row) -> None:
        """Remember how far the store has come, here and in the mark."""
        self._identity, self._changes = meta["identity"], meta["changes"]
        self._files.note(self._identity, self._changes)


class SqliteTransaction:
    """An open transaction. SQLite lets only one of those that write exist at a time."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, owners: Owners) -> None:
        self._connection, self._clock, self._owners = connection, clock, owners
        self._changes_before = connection.total_changes

    def together(self, statements: Sequence[Statement]) -> Seen:
        rows = [self.rows(sql, **values) for sql, values in statements]
        return Seen(rows=rows, now=self.now(), wall=self.epoch())

    def finish(self, statements: Sequence[Statement]) -> list[int]:
        """The commit itself follows at the block's end: there is no round trip to be saved."""
        return [self.change(sql, **values) for sql, values in statements]

    def rows(self, sql: str, **values: object) -> list[Row]:
        return _fetch(self._connection.execute(in_sqlite(sql), values))

    def row(self, sql: str, **values: object) -> Row | None:
        return next(iter(self.rows(sql, **values)), None)

    def change(self, sql: str, **values: object) -> int:
        return self._connection.execute(in_sqlite(sql), values).rowcount

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        self._connection.executemany(in_sqlite(sql), values)

    def now(self) -> float:
        return self._clock.boot()

    def epoch(self) -> float:
        return self._clock.wall()

    def alive(self, owner: str) -> bool:
        return self._owners.alive(owner)

    def refresh_statistics(self) -> None:
        """SQLite's plans do not depend on them here."""

    def remember_calendar(self) -> None:
        """Keep the present reading of both clocks, for after a reboot."""
        self.change(sql.SAVE_META, **self._calendar())

    def _calendar(self) -> Row:
        return {"boot_id": self._clock.boot_id(), "now": self.now(), "wall": self.epoch()}

    def meta(self) -> Row:
        """The one row about the store itself; empty before there is one."""
        return self.row(sql.META) or {}

    def count_change(self) -> bool:
        """Count this transaction, with the time it was made at, if it changes anything; True if it does."""
        changed = self._connection.total_changes != self._changes_before
        if changed:
            self.change(loss.COUNT_CHANGE, **self._calendar())
        return changed

    def bring_forward(self, place: str, left: Leftovers, *, copy: bool = False) -> None:
        """Make a new or an older store one of this version; note that it was lost if it was."""
        found = schema.migrate(self, place, SERIAL, copy=copy)
        self.change(loss.NAME_STORE, identity=secrets.token_hex(8))
        if cause := self.find_loss(found, left):
            self.change(loss.NOTE_LOSS, cause=cause, now=self.now(), wall=self.epoch())

    def find_loss(self, found: int, left: Leftovers) -> str:
        """The cause for which this store, found in this version, is not all that was kept in its place; '' if it is."""
        meta = self.meta()
        return left.find_loss(new=found == 0, identity=meta["identity"], changes=meta["changes"])

    def follow_boot(self, place: str) -> Row:
        """Put all store times on the present boot clock when the machine was started anew; the row about the store.

        A living process that counts by the other one would do the same, and each of them would hold all slots
        anew at every turn: the second one to come is refused.
        """
        meta = self.meta()
        if meta["boot_id"] != self._clock.boot_id():
            self._refuse_company(place)
            reboot.rebase(self)
        return meta

    def is_of_this_boot(self) -> bool:
        """True if the store's times are by the present boot clock."""
        return bool(self.meta()["boot_id"] == self._clock.boot_id())

    def _refuse_company(self, place: str) -> None:
        known = {row["id"]: row for row in self.rows(sql.OWNERS)}
        for owner in sorted(self._owners.others(known)):
            raise StoreUnusable(
                f"{place}: process {known[owner]['pid']} of {known[owner]['host']} uses it with a different boot clock; run "
                "both in one time namespace and with one version of tesnap, or use PostgreSQL (postgresql://…)"
            )


def _fetch(cursor: sqlite3.Cursor) -> list[Row]:
    """The rows of a statement, by the names of its columns."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@functools.cache
def in_sqlite(text: str) -> str:
    """A statement in SQLite's words."""
    for word in (" FOR UPDATE", " FOR SHARE", " SKIP LOCKED", ' COLLATE "C"'):
        text = text.replace(word, "")
    return re.sub(r"= ANY\(:(\w+)\)", r"IN (SELECT value FROM json_each(:\1))", text)


def _quoted(path: Path) -> str:
    """A path as SQL has a text."""
    return "'" + str(path).replace("'", "''") + "'"


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to a file, which is made if need be unless it is only to be read."""
    return _open(f"file:{quote(str(path))}?{_mode(path, read_only=read_only)}")


def _open(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)


def _mode(path: Path, *, read_only: bool) -> str:
    """Reading a WAL store writes its shared memory; in a read-only folder, without a WAL, it need not."""
    if not read_only:
        return "mode=rwc"
    frozen = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    return "mode=ro&immutable=1" if frozen else "mode=ro"


def read_version(connection: sqlite3.Connection, place: str, loss: str) -> int:
    """The version of a store that is only read, and may be by this program; `loss` is what an empty one means."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        words = loss or "this is not a store of tesnap"
        raise StoreUnusable(f"{place}: {words}; `tesnap run` makes one")
    (meta,) = _fetch(connection.execute(schema.READ))
    return schema.check(meta, place)


def refuse_foreign(path: Path, place: str) -> None:
    """Raise StoreUnusable for what is no store of ours, before anything is written into it or beside it."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return
        if _is_backup(path):
            raise StoreUnusable(
                f"{place}: this is a backup and no store, since what was made after it is not in it: give the file another"
                " name, then put it back with `tesnap restore FILE`"
            )
        tables, ours = _tables(path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            explain(error, place)
        return  # opening it says what is wrong
    except OSError:
        return
    if tables and not ours:
        some = ", ".join(tables[:3])
        raise StoreUnusable(
            f"{place}: this is not a store of tesnap but another program's database (it has {some}); name another file"
        )


def _is_backup(path: Path) -> bool:
    """True for a backup, also under a log that was left of the store that was there: it would be mixed with the file."""
    with contextlib.suppress(sqlite3.Error):  # a file that is at work need not be whole without its log
        tables, ours = _look(path, "mode=ro&immutable=1")
        return ours and BACKUP in tables
    return False


def _tables(path: Path) -> tuple[list[str], bool]:
    """The file's tables, and whether there is the one by which a store is known."""
    live = path.with_name(f"{path.name}-wal").exists()
    return _look(
        path, "mode=ro" if live else "mode=ro&immutable=1"
    )  # without a WAL, reading shall not make one


def _look(path: Path, mode: str) -> tuple[list[str], bool]:
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=0)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name for (name,) in file.execute("SELECT name FROM pragma_table_info('meta')")}
    return tables, {"version", "last_wall"} <= columns


def explain(error: sqlite3.Error, place: str) -> NoReturn:
    """The error as one of ours, whatever it is, with what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in PASSING:
        raise StoreUnavailable(f"{place}: {PASSING[code]} ({error})") from error
    if code in LASTING:
        raise StoreUnusable(f"{place}: {LASTING[code]} ({error})") from error
    raise StoreUnusable(
        f"{place}: SQLite refused what tesnap asked of it ({type(error).__name__}: {error}); restore it from a backup, or "
        "move it away and run again"
    ) from error
