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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from orchestrator.core import StoreUnavailable, StoreUnusable, UsageError
from orchestrator.store import schema, sessions
from orchestrator.store.database import Claim, Row, Seen, Size, Statement

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
    "SET tesnap.owner TO ''",  # a pooler's session may still have that of its last client
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

NOW = "SELECT tesnap_now() AS now, pg_backend_pid() AS session"

BEGIN, BEGIN_TO_LOOK = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ {mode}".encode() for mode in ("WRITE", "ONLY")
)

COMMIT, ROLLBACK = b"COMMIT", b"ROLLBACK"

HOLD = b"""SELECT locked, set_config('tesnap.owner', CASE WHEN locked THEN %(named)s ELSE '' END, false)
FROM pg_try_advisory_lock(%(owner)s) AS locked"""

SIZE = """SELECT SUM(pg_total_relation_size(c.oid)) AS size
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :name AND c.relkind = 'r'"""

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

    own_clock = False

    def __init__(self, url: str, *, reread: Callable[[], str] | None = None, read_only: bool = False) -> None:
        self._url, self._reread, self._read_only = url, reread, read_only
        self._place = _without_secrets(url)
        self._lock = threading.RLock()
        self._open: _Session | None = None
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
            tx = self._transaction(BEGIN_TO_LOOK if self._read_only else BEGIN)
            try:
                yield tx
                tx.end(COMMIT)
            except BaseException:
                with contextlib.suppress(psycopg.Error):  # a session that was lost has rolled back already
                    tx.end(ROLLBACK)
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[PostgresTransaction]:
        """Each statement by itself: in READ COMMITTED a transaction would have them see no more in common."""
        with self._lock, self._translate_errors():
            yield self._transaction(None)

    def _transaction(self, begin: bytes | None) -> PostgresTransaction:
        return PostgresTransaction(self._connect_if_lost(), begin, self._place)

    def verify(self) -> None:
        """The server is asked by its name at each connection."""

    def claim(self) -> Claim:
        with self._lock, self._translate_errors():
            session = self._connect_if_lost()
            while self._owner is None:
                self._hold(session, secrets.randbits(63))
            return Claim(owner=f"{self._owner:016x}", taken=self._taken)

    def forget(self, owner: str) -> None:
        """The server has released the lock already."""

    def measure(self) -> Size:
        with self.read() as tx:
            row = tx.row(SIZE, name=SCHEMA) or {}
        return Size(total=int(row["size"] or 0))

    def tidy(self, *, whole: bool) -> str:  # noqa: ARG002 - as every database has it
        """Nothing is done: the server's own processes see to it."""
        return "the database uses the room again by itself"

    def close(self) -> None:
        with self._lock:
            session, self._open, self._owner = self._open, None, None
            if session is not None:
                session.leave()

    def _connect_if_lost(self) -> _Session:
        if self._open is None or self._open.lost:
            if self._open is not None:
                self._open.close()
            self._open = self._connect()
            if self._owner is not None:
                self._hold(self._open, self._owner)
        return self._open

    def _connect(self) -> _Session:
        connection = self._dial()
        try:
            _refuse_encoding(connection, self._place)
            number = sessions.find_session(connection, self._dial, self._place)
            session = _Session(connection, number)
            session.send([(statement.encode(), None) for statement in SESSION])
        except BaseException:
            connection.close()
            raise
        return session

    def _dial(self) -> psycopg.Connection[Row]:
        if self._reread is not None:
            self._take_address(self._reread())
        own = conninfo_to_dict(self._url).keys() - {"client_encoding"}
        options = {name: value for name, value in CONNECTION.items() if name not in own}
        return psycopg.connect(self._url, autocommit=True, row_factory=dict_row, **options)  # type: ignore[arg-type] # the options are the driver's own, of mixed types

    def _take_address(self, url: str) -> None:
        """Take the address that the file has now; StoreUnavailable for that of another store, where nothing here is known."""
        if _without_secrets(url) != self._place:
            raise StoreUnavailable(
                f"{self._place}: the address in its file is that of another store by now: start again to use that one"
            )
        self._url = url

    def _hold(self, session: _Session, owner: int) -> None:
        """Lock an owner id in this session; if the old session still has it, another one is claimed later."""
        (cursor,) = session.send([(HOLD, {"owner": owner, "named": f"{owner:016x}"})])
        row = cursor.fetchone()
        locked = bool(row and row["locked"])
        self._owner = owner if locked else None
        self._taken += locked

    def _prepare(self) -> None:
        with self.read() as tx:
            meta = _read_meta(tx)
        if self._read_only and meta is None:
            raise StoreUnusable(f"{self._place}: there is no store yet: `tesnap run` makes one")
        found = schema.check(meta, self._place)
        if self._read_only:
            schema.refuse_older(found, self._place)
        elif found < schema.VERSION:
            self._migrate()

    def _migrate(self) -> None:
        with self.write() as tx:
            tx.row("SELECT pg_advisory_xact_lock(:number)", number=MIGRATING)
            tx.change(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            if _read_meta(tx) is None:
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
        if isinstance(error, OUT_OF_STEP) and self._open is not None:
            self._open.close()
        remedy = "see whether the database runs and can be reached"
        if not isinstance(error, PASSING):
            remedy = f"the database refused what tesnap asked of it (SQLSTATE {error.sqlstate}); see its log"
        raise StoreUnavailable(f"{self._place}: {text}; {remedy}") from error


_Translated = tuple[bytes, Mapping[str, object] | None]
"""A statement in the words of PostgreSQL's driver."""

SOME = 500
"""Changes of one kind that are sent before their outcome is waited for."""


class PostgresTransaction:
    """An open transaction: it begins with its first statement, in the same round trip.

    Without a word by which to `begin`, each statement is a transaction of its own.
    """

    def __init__(
        self,
        session: _Session,
        begin: bytes | None,
        place: str,
    ) -> None:
        self._session, self._place = session, place
        self._begin, self._open = begin, False

    def together(self, statements: Sequence[Statement]) -> Seen:
        *cursors, clock = self._carry_out([*map(_translate, statements), (in_postgres(NOW), {})])
        now = self._read_clock(clock.fetchone() or {})
        return Seen(rows=[_fetch(cursor) for cursor in cursors], now=now, wall=now)

    def finish(self, statements: Sequence[Statement]) -> list[int]:
        *cursors, _ = self._carry_out([*map(_translate, statements), (COMMIT, None)])
        self._open, self._begin = False, None
        return [cursor.rowcount for cursor in cursors]

    def rows(self, sql: str, **values: object) -> list[Row]:
        return self._one(sql, values).fetchall()

    def row(self, sql: str, **values: object) -> Row | None:
        return self._one(sql, values).fetchone()

    def change(self, sql: str, **values: object) -> int:
        return self._one(sql, values).rowcount

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        each = [(sql, one) for one in values]
        for first in range(0, len(each), SOME):
            self._carry_out([*map(_translate, each[first : first + SOME])])

    def now(self) -> float:
        return self._read_clock(self.row(NOW) or {})

    def epoch(self) -> float:
        return self.now()

    def refresh_statistics(self) -> None:
        self.change("ANALYZE run_task, task")

    def alive(self, owner: str) -> bool:
        """True if a session holds the owner's lock: it cannot be had, not even until this transaction ends."""
        row = self.row("SELECT is_alive(:owner) AS alive", owner=owner) or {}
        return bool(row["alive"])

    def end(self, word: bytes) -> None:
        """End it by this word, if it has begun and is not finished."""
        if self._open:
            self._open = False
            self._session.send([(word, None)])

    def _read_clock(self, row: Row) -> float:
        """The server's clock, as it is told by the session that holds this process's lock, and by no other."""
        if row["session"] != self._session.number:
            raise StoreUnusable(f"{self._place}: {sessions.SHARED}")
        return float(row["now"])

    def _one(self, sql: str, values: Mapping[str, object]) -> psycopg.Cursor[Row]:
        (cursor,) = self._carry_out([_translate((sql, values))])
        return cursor

    def _carry_out(self, statements: Sequence[_Translated]) -> list[psycopg.Cursor[Row]]:
        """Carry out statements in one round trip, beginning the transaction with the first of them."""
        if self._begin is None or self._open:
            return self._session.send(statements)
        self._open = True
        return self._session.send([(self._begin, None), *statements])[1:]


class _Session:
    """A connection that is in pipeline mode from now on: statements go out together, and end with one Sync.

    `number` is the server's process behind it.
    It never leaves that mode while it lives: the driver's way out sends a Flush after the last Sync, and any message
    makes the server forget its patience with a session that stands still in a transaction.
    """

    def __init__(self, connection: sessions.Connection, number: int) -> None:
        self.number = number
        self._pooled = number != connection.info.backend_pid
        self._connection, self._mode = connection, connection.pipeline()
        self._pipeline = self._mode.__enter__()

    def send(self, statements: Sequence[_Translated]) -> list[psycopg.Cursor[Row]]:
        """Send all of them before the first answer is waited for; raises the first error, after which the server skips the rest."""
        try:
            cursors = [self._connection.execute(*statement) for statement in statements]
        except psycopg.Error:  # of one whose answer was there before the last was sent
            with contextlib.suppress(psycopg.Error):
                self._pipeline.sync()
            raise
        self._pipeline.sync()
        return cursors

    def close(self) -> None:
        """Leave the mode and close the connection, whatever state it is in."""
        with contextlib.closing(self._connection), contextlib.suppress(psycopg.Error):
            self._mode.__exit__(None, None, None)

    def leave(self) -> None:
        """Close it; a pooler's session is left to its next client as it was."""
        with contextlib.suppress(psycopg.Error):
            self._mode.__exit__(None, None, None)
        with contextlib.closing(self._connection), contextlib.suppress(psycopg.Error):
            if self._pooled:
                self._connection.execute("DISCARD ALL")

    @property
    def lost(self) -> bool:
        """True if the connection has ended."""
        return self._connection.closed


def _fetch(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """The rows of a statement; one that changes something has none."""
    return cursor.fetchall() if cursor.description else []


def _translate(statement: Statement) -> _Translated:
    text, values = statement
    return in_postgres(text), {
        name: int(value) if isinstance(value, bool) else value for name, value in values.items()
    }


_IS_ALIVE = re.compile(r"is_alive\(([\w.:]+)\)")

_LIVES = r"""(COALESCE(\1 = current_setting('tesnap.owner', true), false)
    OR NOT pg_try_advisory_xact_lock(CAST(CAST('x' || \1 AS BIT(64)) AS BIGINT)))"""
"""A process lives while a session holds the lock of its owner's number: nobody else can have it, not even for one
statement. Our own session could: it says by a setting whose it is."""


@functools.cache
def in_postgres(text: str) -> bytes:
    """A statement in the words of PostgreSQL's driver."""
    text = _IS_ALIVE.sub(_LIVES, text)
    text = text.replace("tesnap_epoch()", "tesnap_now()").replace(" WITHOUT ROWID", "").replace("%", "%%")
    return re.sub(r":([a-z_]+)", r"%(\1)s", text).encode()


def _is_lasting(error: psycopg.Error, text: str) -> bool:
    """True for what no waiting puts right; of a connection that was not made there are only words."""
    if error.sqlstate is None:
        return "authentication failed" in text or "does not exist" in text
    return error.sqlstate[:2] in LASTING and not isinstance(error, OUT_OF_STEP)


def _refuse_encoding(connection: psycopg.Connection[Row], place: str) -> None:
    """Raise StoreUnusable for a database that has no place for every character of a test's name."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise StoreUnusable(
            f"{place}: the database's encoding is {encoding}: use one that was made with ENCODING 'UTF8'"
        )


def _read_meta(tx: PostgresTransaction) -> Row | None:
    """The row about the store itself, None where there is no store yet."""
    row = tx.row("SELECT to_regclass(:name) AS found", name=f"{SCHEMA}.meta") or {}
    return tx.row(schema.READ) if row["found"] else None


def _without_secrets(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise UsageError("not a store: write postgresql://user@host:port/database") from None
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"
