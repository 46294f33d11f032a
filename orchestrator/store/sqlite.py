"""The store in one SQLite file: WAL, every commit synced, the kernel's boot clock as store time."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from orchestrator.core import Clock, StoreUnavailable, StoreUnusable
from orchestrator.ratelimit import return_after_reboot
from orchestrator.store import schema, sql
from orchestrator.store.address import sqlite_address
from orchestrator.store.database import Claim, Row
from orchestrator.store.locks import Owners

BUSY = 10.0
"""Real seconds to wait for another process's transaction; one takes some milliseconds."""

SERIAL = "INTEGER PRIMARY KEY"
"""A counted primary key."""

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre")
"""File systems on which neither SQLite's locks nor its shared memory can be relied on; `fuse.*` too."""

MOUNTS = Path("/proc/self/mounts")
"""The kernel's list of what is mounted where, as this process sees it."""

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

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.RLock()
        self._owners = Owners(path)
        refuse_foreign(path, self.describe())
        if not read_only:
            _make_room(path)
        with self._translate_errors():
            self._connection = _connect(path, read_only=read_only)
            try:
                if read_only:
                    self._prepare_to_look()
                else:
                    self._prepare_to_write()
            except BaseException:
                self._connection.close()
                raise

    def describe(self) -> str:
        return sqlite_address(self._path)

    @contextlib.contextmanager
    def write(self) -> Iterator[SqliteTransaction]:
        with self._lock, self._translate_errors(), self._transaction("BEGIN IMMEDIATE") as tx:
            tx.follow_boot(self.describe())
            yield tx

    @contextlib.contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        with self._lock, self._translate_errors(), self._transaction("BEGIN") as tx:
            yield tx

    def claim(self) -> Claim:
        with self._lock, self._translate_lock_errors():
            return self._owners.claim()

    def forget(self, owner: str) -> None:
        self._owners.forget(owner)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._owners.close()

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
            _explain(error, self.describe())

    @contextlib.contextmanager
    def _translate_lock_errors(self) -> Iterator[None]:
        """Say what it means when the folder of lock files does not take one."""
        try:
            yield
        except OSError as error:
            problem = f"{self.describe()}: no lock file can be made beside it: {error.strerror}"
            raise StoreUnusable(problem) from error

    def _prepare_to_look(self) -> None:
        found = _version(self._connection, self.describe())
        schema.check(found, self.describe())
        with self.read() as tx:
            current = found == schema.VERSION and tx.is_of_this_boot()
        if not current:
            self._use_a_copy()

    def _use_a_copy(self) -> None:
        """Bring a copy in memory forward instead of the store, into which a command that only looks writes nothing."""
        with contextlib.closing(self._connection) as store:
            self._connection = _open(":memory:")
            store.backup(self._connection)
        with self._transaction("BEGIN") as tx:
            schema.migrate(tx, self.describe(), SERIAL)
            if not tx.is_of_this_boot():
                tx.rebase()
        self._connection.execute("PRAGMA query_only = ON")

    def _prepare_to_write(self) -> None:
        with self._translate_lock_errors(), self._owners.lock_opening():
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction("BEGIN IMMEDIATE") as tx:
            schema.migrate(tx, self.describe(), SERIAL)
            tx.follow_boot(self.describe())


class SqliteTransaction:
    """An open transaction. SQLite lets only one of those that write exist at a time."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, owners: Owners) -> None:
        self._connection, self._clock, self._owners = connection, clock, owners

    def rows(self, sql: str, **values: object) -> list[Row]:
        return self._connection.execute(in_sqlite(sql), _bound(values)).fetchall()

    def row(self, sql: str, **values: object) -> Row | None:
        found: Row | None = self._connection.execute(in_sqlite(sql), _bound(values)).fetchone()
        return found

    def change(self, sql: str, **values: object) -> int:
        return self._connection.execute(in_sqlite(sql), _bound(values)).rowcount

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        self._connection.executemany(in_sqlite(sql), map(_bound, values))

    def now(self) -> float:
        return self._clock.boot()

    def epoch(self) -> float:
        return self._clock.wall()

    def alive(self, owner: str) -> bool:
        return self._owners.alive(owner)

    def refresh_statistics(self) -> None:
        """SQLite's plans do not depend on them here."""

    def remember_calendar(self, now: float) -> None:
        self.change(sql.SAVE_META, boot_id=self._clock.boot_id(), now=now, wall=self.epoch())

    def follow_boot(self, place: str) -> None:
        """Put all store times on the present boot clock when the machine was started anew.

        A living process that counts by the other one would do the same, and each of them would hold all slots
        anew at every turn: the second one to come is refused.
        """
        if not self.is_of_this_boot():
            self._refuse_company(place)
            self.rebase()

    def is_of_this_boot(self) -> bool:
        """True if the store's times are by the present boot clock."""
        return bool((self.row(sql.META) or {})["boot_id"] == self._clock.boot_id())

    def rebase(self) -> None:
        """Put all store times on the present boot clock; a new store has none yet."""
        meta, now, wall = self.row(sql.META) or {}, self.now(), self.epoch()
        if meta["boot_id"] is not None:
            self._rebase_buckets(meta["last_wall"], now=now, wall=wall)
            self._shift(meta, now=now, wall=wall)
        self.remember_calendar(now)

    def _refuse_company(self, place: str) -> None:
        known = {row["id"]: row for row in self.rows(sql.OWNERS)}
        for owner in sorted(self._owners.others(known)):
            raise StoreUnusable(
                f"{place}: process {known[owner]['pid']} of {known[owner]['host']} uses it by another boot clock; run "
                "both in one time namespace and with one version of tesnap, or use PostgreSQL (postgresql://…)"
            )

    def _rebase_buckets(self, last_wall: float, *, now: float, wall: float) -> None:
        """Tokens and gates: in only when the calendar leaves no doubt."""
        for token in self.rows(sql.ALL_TOKENS):
            returns_at = return_after_reboot(
                hold=token["returns_at"] - token["written_at"],
                written_wall=token["written_wall"],
                last_wall=last_wall,
                wall=wall,
                now=now,
                full_hold=token["full_hold"],
            )
            changed = {"returns_at": returns_at, "written_at": now, "written_wall": wall}
            self.change(sql.WRITE_RETURN, **{**token, **changed, "task": None, "attempt": None})
        for gate in self.rows(sql.CLOSED_GATES):
            hold = gate["gate_until"] - gate["gate_closed_at"]
            until = return_after_reboot(
                hold=hold,
                written_wall=gate["gate_wall"],
                last_wall=last_wall,
                wall=wall,
                now=now,
                full_hold=hold,
            )
            values = {"closings": gate["gate_closings"], "probe_task": None, "probe_attempt": None}
            self.change(sql.SAVE_GATE, bucket=gate["id"], closed_at=now, until=until, wall=wall, **values)

    def _shift(self, meta: Row, *, now: float, wall: float) -> None:
        """All else by what the calendar says has passed since the last grant; waits for evidence begin again."""
        passed = max(0.0, wall - meta["last_wall"])
        for statement in sql.SHIFT:
            self.change(statement, shift=now - passed - meta["last_at"], wait=now - meta["last_at"])


@functools.cache
def in_sqlite(text: str) -> str:
    """A statement in SQLite's words."""
    return re.sub(
        r"= ANY\(:(\w+)\)", r"IN (SELECT value FROM json_each(:\1))", text.replace(" FOR UPDATE", "")
    )


def _bound(values: Mapping[str, object]) -> dict[str, object]:
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    return _open(f"file:{quote(str(path))}?{_mode(path, read_only=read_only)}")


def _open(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.row_factory = _as_dict
    return connection


def _mode(path: Path, *, read_only: bool) -> str:
    """Reading a WAL store writes its shared memory; in a read-only folder, without a WAL, it need not."""
    if not read_only:
        return "mode=rwc"
    frozen = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    return "mode=ro&immutable=1" if frozen else "mode=ro"


def _as_dict(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _version(connection: sqlite3.Connection, place: str) -> int:
    """The version of a store that is only read."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        raise StoreUnusable(f"{place}: this is not a store of tesnap; `tesnap run` makes one")
    return int(connection.execute("SELECT version FROM meta").fetchone()["version"])


def refuse_foreign(path: Path, place: str) -> None:
    """Raise StoreUnusable for what is no store of ours, before anything is written into it or beside it."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return
        tables, ours = _tables(path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            _explain(error, place)
        return  # opening it says what is wrong
    except OSError:
        return
    if tables and not ours:
        some = ", ".join(tables[:3])
        raise StoreUnusable(
            f"{place}: this is not a store of tesnap but another program's database (it has {some}); name another file"
        )


def _tables(path: Path) -> tuple[list[str], bool]:
    """The file's tables, and whether there is the one by which a store is known."""
    live = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if live else "mode=ro&immutable=1"  # without a WAL, reading shall not make one
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=0)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name for (name,) in file.execute("SELECT name FROM pragma_table_info('meta')")}
    return tables, {"version", "last_wall"} <= columns


def _make_room(path: Path) -> None:
    """The folder and the file, for nobody else to read, on a disk of this machine."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network(path, MOUNTS)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        refuse_names(path, MOUNTS)
    except OSError as error:
        problem = f"{sqlite_address(path)}: {error.strerror}; name a file in a folder that may be written"
        raise StoreUnusable(problem) from error


def refuse_network(path: Path, mounts: Path) -> None:
    """Raise StoreUnusable for a folder on a network file system, by the kernel's list of mounts."""
    folder, found = path.parent.resolve(), ("", "")
    for point, kind in _read_mounts(mounts):
        if folder.is_relative_to(point) and len(point) >= len(found[0]):
            found = point, kind
    if found[1] in NETWORK or found[1].startswith("fuse."):
        raise StoreUnusable(
            f"{sqlite_address(path)}: {found[0]} is a network file system ({found[1]}), on which SQLite's locks cannot be "
            "relied on; use a local disk, or PostgreSQL for several machines (postgresql://…)"
        )


def refuse_names(path: Path, mounts: Path) -> None:
    """Raise StoreUnusable for a file that has another name as well: SQLite's log and our locks lie beside each of them."""
    if path.stat().st_nlink > 1:
        raise StoreUnusable(
            f"{sqlite_address(path)}: the file has a second name (a hard link), and who uses that one would not be seen; "
            f"remove the other name (`find / -xdev -samefile {path}` shows both), or name another file"
        )
    if any(point == str(path) for point, _ in _read_mounts(mounts)):
        raise StoreUnusable(
            f"{sqlite_address(path)}: the file is mounted by itself, and what lies beside it is not shared with who uses it "
            "elsewhere; mount the folder that it is in"
        )


def _read_mounts(mounts: Path) -> Iterator[tuple[str, str]]:
    """Each mount's place and kind; none where the kernel keeps no such list."""
    if mounts.exists():
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            _, point, kind, *_ = line.split(" ")
            yield point.encode().decode("unicode_escape"), kind


def _explain(error: sqlite3.Error, place: str) -> NoReturn:
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
