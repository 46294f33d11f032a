"""The store as those have it who use it, and how it is opened by its address."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.core import Clock, StoreTrouble, StoreUnusable, UsageError
from orchestrator.store import sql
from orchestrator.store.address import AddressInFile, is_there, read_address, sqlite_address
from orchestrator.store.backup import declare_put_back
from orchestrator.store.clocks import ClockReadings
from orchestrator.store.database import Database
from orchestrator.store.files import StoreFiles
from orchestrator.store.history import History
from orchestrator.store.locks import OnHeld
from orchestrator.store.organizations import KnownOrganizations
from orchestrator.store.pruning import Pruning
from orchestrator.store.queue import Queue
from orchestrator.store.reads import Reads
from orchestrator.store.runs import Runs
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.starts import Starts
from orchestrator.store.uncertain import UncertainTasks
from orchestrator.store.views import Views


class Store:
    """A durable place for tasks and the buckets they wait for: one database, and what can be done with it.

    Its parts may be used from several threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queue = Queue(database)
        self.organizations = KnownOrganizations(database)
        self.runs = Runs(database, self.queue.register)
        self.starts = Starts(database)
        self.uncertain = UncertainTasks(database)
        self.views = Views(database)
        self.history = History(database)
        self.reads = Reads(database)
        self.pruning = Pruning(database)
        self.clocks = ClockReadings(database)

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

    def verify(self) -> None:
        """Raise `StoreGone` if what was opened is not what others find by its name any more."""
        self._database.verify()

    def declare_put_back(self, taken: float) -> None:
        """Note that the store was put back as it was at this moment (epoch seconds): what came later is not known.

        StoreUnavailable while processes are at work on it.
        """
        declare_put_back(self._database, taken)

    def touch(self) -> None:
        """Write something that changes nothing, to find out whether the store takes it."""
        with self._database.write() as tx:
            tx.change(sql.TOUCH_META)

    def close(self) -> None:
        """Give up ownership and the connection. Leases still held are recovered by the next process that looks."""
        try:
            self.queue.leave()
        except StoreTrouble:
            pass  # the next process that looks does it
        finally:
            self._database.close()


def open_store(url: str, *, clock: Clock, read_only: bool = False, on_held: OnHeld = lambda _: None) -> Store:
    """The store behind `sqlite:////absolute/path` (or a plain path) or `postgresql://…`.

    It is made, or brought to the present version, if need be; with `read_only` nothing is written, and
    it has to exist. `on_held` is told of a process that is waited for. Raises `UsageError`, `StoreUnusable` or
    `StoreUnavailable`.
    """
    address = read_address(url)
    if address.path is None:
        reread = (lambda: read_address(url).url) if isinstance(url, AddressInFile) else None
        return _open_postgres(address.url, reread, read_only=read_only)
    if read_only and not is_there(address.path):
        raise StoreUnusable(f"there is no store at {address.path} yet: `tesnap run` makes one")
    return Store(SqliteDatabase(address.path, clock, read_only=read_only, on_held=on_held))


def store_exists(url: str) -> bool:
    """True if there is something to open; a PostgreSQL store makes its schema when it is first opened.

    StoreUnusable where there was a store, by its mark, and its file is gone.
    """
    path = read_address(url).path
    if path is None or is_there(path):
        return True
    if StoreFiles(path).look_at_leftovers(used=False).mark is not None:
        raise StoreUnusable(
            f"{sqlite_address(path)}: the store's file is gone: it was removed or renamed. Put it back; or let `tesnap "
            "run` make a new one, which holds all slots for a while first"
        )
    return False


def _open_postgres(url: str, reread: Callable[[], str] | None, *, read_only: bool) -> Store:
    """Psycopg is an extra: only who uses PostgreSQL needs it."""
    try:
        from orchestrator.store.postgres import PostgresDatabase
    except ImportError as error:
        raise UsageError(
            "a PostgreSQL store needs psycopg: pip install 'thousandeyes-snapshot-orchestrator[postgres]'"
        ) from error
    return Store(PostgresDatabase(url, reread=reread, read_only=read_only))
