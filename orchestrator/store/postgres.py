"""The store in PostgreSQL, for several machines: row locks, and the database's clock as store time.

Every statement runs in READ COMMITTED, so that each one sees what was committed before it began: a grant
that has waited for an organization's lock then reads the tokens as they are, not as they were.
"""

from __future__ import annotations

import contextlib
import functools
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from orchestrator.core import StoreUnavailable, StoreUnusable, UsageError
from orchestrator.store import schema, sessions
from orchestrator.store.database import Claim, Row

SCHEMA = "tesnap"

CONNECTION: Mapping[str, str | int] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "tesnap",
    "client_encoding": "UTF8",
}
"""A server that is gone is noticed within half a minute (seconds; the user timeout in milliseconds), unless the
address has options of its own."""

NOTICING: Mapping[str, int] = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""The same on the server's side, which holds a process's lock for as long as it believes in its session: a
machine that lost its power says no goodbye. Over a unix socket these settings do nothing."""

SESSION = (
    f"SET search_path TO {SCHEMA}",
    "SET lock_timeout TO '10s'",
    "SET idle_in_transaction_session_timeout TO '60s'",
    # What is committed has to be durable, whatever the server's default is.
    """SELECT set_config('synchronous_commit', 'on', false)
       WHERE current_setting('synchronous_commit') IN ('off', 'local')""",
    *(f"SET {name} TO {value}" for name, value in NOTICING.items()),
)

CLOCK = """CREATE FUNCTION tesnap_now() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE
AS 'SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)'"""
"""All times of the store come from here. Never `now()`: it stands still within a transaction."""

MIGRATING = 7_370_461
"""The advisory lock under which the schema changes; any number that nobody else uses."""

LASTING = ("28", "3D", "3F", "42")
"""Classes of SQLSTATE that no waiting puts right: who one is, which database and schema, what is there and allowed."""

OUT_OF_STEP = (
    errors.InvalidSqlStatementName,
    errors.DuplicatePreparedStatement,
    errors.ProtocolViolation,
)
"""Driver and server no longer agree on what is prepared in the session (a pooler, or somebody's DISCARD): a new one does."""

PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.FeatureNotSupported,  # a newer version has changed the tables: the next statement is prepared anew
    errors.IdleInTransactionSessionTimeout,  # this process stood still for too long
    *OUT_OF_STEP,
)
"""Errors that pass: the transaction was rolled back, and may be tried again."""


_INVALID_OPTION = re.compile(
    r"""invalid (\w+) value: |" for connection option "(\w+)"|bad value for (\w+): """
)
"""The words of libpq and of psycopg about an address's option, before anything is connected to."""


class PostgresDatabase:
    """One session with the server, made anew when it was lost, and the advisory lock of this process."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._url, self._read_only = url, read_only
        self._place = _without_secrets(url)
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Row] | None = None
        self._session = 0
        self._owner: int | None = None
        self._taken = 0
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def describe(self) -> str:
        return self._place

    @contextlib.contextmanager
    def write(self) -> Iterator[PostgresTransaction]:
        with self._lock, self._translate_errors():
            connection = self._connect_if_lost()
            with connection.transaction():
                yield PostgresTransaction(connection, self._owner, self._session, self._place)

    read = write

    def verify(self) -> None:
        """The server is asked by its name at each connection."""

    def claim(self) -> Claim:
        with self._lock, self._translate_errors():
            connection = self._connect_if_lost()
            while self._owner is None:
                self._hold(connection, secrets.randbits(63))
            return Claim(owner=f"{self._owner:016x}", taken=self._taken)

    def forget(self, owner: str) -> None:
        """The server has released the lock already."""

    def close(self) -> None:
        with self._lock:
            connection, self._connection, self._owner = self._connection, None, None
            if connection is not None:
                self._leave(connection)

    def _leave(self, connection: psycopg.Connection[Row]) -> None:
        """Close a connection; a pooler's session is left to its next client as it was."""
        with contextlib.closing(connection), contextlib.suppress(psycopg.Error):
            if self._session != connection.info.backend_pid:
                connection.execute("DISCARD ALL")

    def _connect_if_lost(self) -> psycopg.Connection[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            if self._owner is not None:
                self._hold(self._connection, self._owner)
        return self._connection

    def _connect(self) -> psycopg.Connection[Row]:
        connection = self._dial()
        try:
            self._refuse_encoding(connection)
            self._session = sessions.find_session(connection, self._dial, self._place)
            for statement in SESSION:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = self._read_only
        return connection

    def _dial(self) -> psycopg.Connection[Row]:
        own = conninfo_to_dict(self._url).keys() - {"client_encoding"}
        options = {name: value for name, value in CONNECTION.items() if name not in own}
        return psycopg.connect(self._url, autocommit=True, row_factory=dict_row, **options)  # type: ignore[arg-type] # the options are the driver's own, of mixed types

    def _refuse_encoding(self, connection: psycopg.Connection[Row]) -> None:
        """Raise StoreUnusable for a database that has no place for every character of a test's name."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in (None, "UTF8"):
            raise StoreUnusable(
                f"{self._place}: the database's encoding is {encoding}: use one that was made with ENCODING 'UTF8'"
            )

    def _hold(self, connection: psycopg.Connection[Row], owner: int) -> None:
        """Lock an owner id in this session; if the old session still has it, another one is claimed later."""
        row = connection.execute("SELECT pg_try_advisory_lock(%s) AS locked", [owner]).fetchone()
        locked = bool(row and row["locked"])
        self._owner = owner if locked else None
        self._taken += locked

    def _prepare(self) -> None:
        with self.read() as tx:
            found = _version(tx)
        if self._read_only and found == 0:
            raise StoreUnusable(f"{self._place}: there is no store yet: `tesnap run` makes one")
        schema.check(found, self._place)
        if self._read_only:
            schema.refuse_older(found, self._place)
        elif found < schema.VERSION:
            self._migrate()

    def _migrate(self) -> None:
        with self.write() as tx:
            tx.row("SELECT pg_advisory_xact_lock(:number)", number=MIGRATING)
            tx.change(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            if _version(tx) == 0:
                tx.change(CLOCK)
            schema.migrate(tx, self._place, "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self._explain(error)

    def _explain(self, error: psycopg.Error) -> NoReturn:
        """The error as one of ours, whatever it is: what no waiting puts right, and all the rest, which may pass."""
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        if _is_lasting(error, text):
            raise StoreUnusable(
                f"{self._place}: {text}; check the address, the user and its rights"
            ) from error
        if error.sqlstate is None and (option := _INVALID_OPTION.search(text)):
            raise UsageError(
                f"{self._place}: its option {next(filter(None, option.groups()))} has a value that PostgreSQL does not take: correct it"
            ) from None
        if isinstance(error, errors.ReadOnlySqlTransaction) and self._read_only:
            raise StoreUnusable(f"{self._place}: it was opened for reading only") from error
        if isinstance(error, OUT_OF_STEP) and self._connection is not None:
            self._connection.close()
        remedy = "see whether the database runs and can be reached"
        if not isinstance(error, PASSING):
            remedy = f"the database refused what tesnap asked of it (SQLSTATE {error.sqlstate}); see its log"
        raise StoreUnavailable(f"{self._place}: {text}; {remedy}") from error


class PostgresTransaction:
    """An open transaction."""

    def __init__(
        self, connection: psycopg.Connection[Row], owner: int | None, session: int, place: str
    ) -> None:
        self._connection, self._owner = connection, owner
        self._session, self._place = session, place

    def rows(self, sql: str, **values: object) -> list[Row]:
        return self._connection.execute(in_postgres(sql), _bound(values)).fetchall()

    def row(self, sql: str, **values: object) -> Row | None:
        return self._connection.execute(in_postgres(sql), _bound(values)).fetchone()

    def change(self, sql: str, **values: object) -> int:
        return self._connection.execute(in_postgres(sql), _bound(values)).rowcount

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(in_postgres(sql), map(_bound, values))

    def now(self) -> float:
        """The server's clock, as it is told by the session that holds this process's lock, and by no other."""
        row = self.row("SELECT tesnap_now() AS now, pg_backend_pid() AS session") or {}
        if row["session"] != self._session:
            raise StoreUnusable(f"{self._place}: {sessions.SHARED}")
        return float(row["now"])

    def epoch(self) -> float:
        return self.now()

    def refresh_statistics(self) -> None:
        self.change("ANALYZE run_task, task")

    def alive(self, owner: str) -> bool:
        """True if a session holds the owner's lock: it cannot be had, not even until this transaction ends."""
        number = int(owner, 16)
        if number == self._owner:
            return True
        row = self.row("SELECT pg_try_advisory_xact_lock(:number) AS free", number=number) or {}
        return not row["free"]

    def remember_calendar(self, now: float) -> None:
        """The server's clock survives its restarts."""


@functools.cache
def in_postgres(text: str) -> bytes:
    """A statement in the words of PostgreSQL's driver."""
    return re.sub(r":([a-z_]+)", r"%(\1)s", text.replace("%", "%%")).encode()


def _bound(values: Mapping[str, object]) -> dict[str, object]:
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}


def _is_lasting(error: psycopg.Error, text: str) -> bool:
    """True for what no waiting puts right; of a connection that was not made there are only words."""
    if error.sqlstate is None:
        return "authentication failed" in text or "does not exist" in text
    return error.sqlstate[:2] in LASTING and not isinstance(error, OUT_OF_STEP)


def _version(tx: PostgresTransaction) -> int:
    """The store's version, 0 where there is none yet."""
    row = tx.row("SELECT to_regclass(:name) AS found", name=f"{SCHEMA}.meta") or {}
    return schema.version(tx) if row["found"] else 0


def _without_secrets(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise UsageError("not a store: write postgresql://user@host:port/database") from None
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"
