"""The store as those have it who use it, and how it is opened by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from orchestrator.core import Clock, StoreTrouble, StoreUnusable, UsageError, quote
from orchestrator.store import sql
from orchestrator.store.database import Database
from orchestrator.store.organizations import KnownOrganizations
from orchestrator.store.queue import Queue
from orchestrator.store.runs import Runs
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.uncertain import UncertainTasks
from orchestrator.store.views import Views

SUFFIXES = (".db", ".sqlite", ".sqlite3")
"""Names that mean a file even without a slash."""

POSTGRES = ("postgresql://", "postgres://")


class Store:
    """A durable place for tasks and the buckets they wait for: one database, and what can be done with it.

    Its parts may be used from several threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queue = Queue(database)
        self.organizations = KnownOrganizations(database)
        self.runs = Runs(database)
        self.uncertain = UncertainTasks(database)
        self.views = Views(database)

    def now(self) -> float:
        """The store's own clock, by which tokens return."""
        with self._database.read() as tx:
            return tx.now()

    def epoch(self) -> float:
        """The calendar as the store has it (epoch seconds): for expiry and for showing store times."""
        with self._database.read() as tx:
            return tx.epoch()

    def describe(self) -> str:
        """Where the store is, without secrets: `sqlite:////path`, `postgresql://host/db`."""
        return self._database.describe()

    def touch(self) -> None:
        """Write something that changes nothing, to find out whether the store takes it."""
        with self._database.write() as tx:
            tx.change(sql.TOUCH_META)
            tx.remember_calendar(tx.now())

    def close(self) -> None:
        """Give up ownership and the connection. Leases still held are recovered by the next process that looks."""
        try:
            self.queue.leave()
        except StoreTrouble:
            pass  # the next process that looks does it
        finally:
            self._database.close()


def open_store(url: str, *, clock: Clock, read_only: bool = False) -> Store:
    """The store behind `sqlite:////absolute/path` (or a plain path) or `postgresql://…`.

    It is made, or brought to the present version, if need be; with `read_only` nothing is written, and
    it has to exist. Raises `StoreUnusable` or `StoreUnavailable`.
    """
    if url.startswith(POSTGRES):
        return _open_postgres(url, read_only=read_only)
    path = _path(url)
    if read_only and not _exists(path):
        raise StoreUnusable(f"there is no store at {path} yet: `tesnap run` makes one")
    return Store(SqliteDatabase(path, clock, read_only=read_only))


def store_exists(url: str) -> bool:
    """True if there is something to open; a PostgreSQL store makes its schema when it is first opened."""
    return url.startswith(POSTGRES) or _exists(_path(url))


def _exists(path: Path) -> bool:
    """True if there is a file; StoreUnusable where this user may not even look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnusable(
            f"sqlite:///{path}: {error.strerror}; name a file in a folder that this user may open, with --store"
        ) from error
    return True


def _path(url: str) -> Path:
    if url.startswith("sqlite:"):
        if not url.startswith("sqlite:////"):
            raise UsageError(f"not a store: {url!r}: write sqlite:////absolute/path with four slashes")
        return _file(unquote(url.removeprefix("sqlite:///")))
    if "://" in url or not url:
        raise UsageError(
            f"not a store: {url.partition('://')[0]!r}: write sqlite:////absolute/path or postgresql://host/database"
        )
    if "/" not in url and not url.endswith(SUFFIXES):
        raise UsageError(
            f"not a store: {quote(url)}: write sqlite:////absolute/path, a path such as ./tesnap.db, or"
            " postgresql://host/database"
        )
    return _file(url)


def _file(written: str) -> Path:
    """The file's path; UsageError where none can be."""
    try:
        path = Path(written).expanduser().absolute()
    except RuntimeError as error:  # ~name of a user whom nobody knows
        raise UsageError(f"not a store: {quote(written)}: {error}") from None
    if "\0" in written or (_exists(path) and path.is_dir()):
        raise UsageError(f"not a store: {quote(str(path))} is a folder or no path: name a file")
    return path


def _open_postgres(url: str, *, read_only: bool) -> Store:
    """Psycopg is an extra: only who uses PostgreSQL needs it."""
    try:
        from orchestrator.store.postgres import PostgresDatabase
    except ImportError as error:
        raise UsageError(
            "a PostgreSQL store needs psycopg: pip install 'thousandeyes-snapshot-orchestrator[postgres]'"
        ) from error
    return Store(PostgresDatabase(url, read_only=read_only))
