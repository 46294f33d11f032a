"""Sessions with a PostgreSQL server, and poolers that hand one out to many: a process lives as long as its session does.

By transaction or by statement, a pooler runs what comes next in any session that is free. The lock by which a process
is known to live would stay in one of them, and what is set in it would meet the pool's other clients. So nothing is
set or locked before a connection has shown that it is one session, and the clock is asked together with the session
that tells it.
"""

from __future__ import annotations

import secrets
import select
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn

from orchestrator.core import StoreUnavailable, StoreUnusable

Connection = psycopg.Connection[dict[str, Any]]

PATIENCE = 10
"""Seconds for a pooler to hand out a second session, and to clear it when it comes back."""

ROUNDS = 3
"""Comparisons; with nobody else at the pooler the first one tells, whichever free session it takes first."""

SHARED = (
    "a pooler in between spreads the transactions of one connection over several sessions (PgBouncer's "
    "pool_mode transaction or statement), and tesnap needs one session for each connection: use session pooling "
    "(pool_mode = session), or the database's direct address"
)

KEPT = (
    "a pooler in between keeps a session's locks after its client has gone, so dead processes would seem "
    "alive: have it clear each session (PgBouncer: server_reset_query = DISCARD ALL), or use the database's direct "
    "address"
)

FULL = (
    f"a pooler in between had no second session free within {PATIENCE} s: raise its pool's size, or use the "
    "database's direct address"
)


def find_session(connection: Connection, connect: Callable[[], Connection], place: str) -> int:
    """The server's process that a new connection talks to; StoreUnusable if it is not one and the same all the time.

    Without a pooler the server's process is the one that it named when we connected: then nothing more is asked.
    """
    session = read_session(connection)
    if session != connection.info.backend_pid:
        with closing(connect()) as other:
            _refuse_shared(connection, other, place)
            number = secrets.randbits(63)
            other.execute("SELECT pg_advisory_lock(%s)", [number], prepare=False)
        _refuse_kept(connection, number, place)
    return session


def read_session(connection: Connection) -> int:
    """The server's process that a statement runs in."""
    row = connection.execute("SELECT pg_backend_pid() AS session", prepare=False).fetchone()
    return int(row["session"]) if row else 0


def _refuse_shared(connection: Connection, other: Connection, place: str) -> None:
    """Raise StoreUnusable if two connections meet in one session, or one of them moves between two."""
    ours = read_session(connection)
    for _ in range(ROUNDS):
        if read_session(connection) != ours or _begin(other.pgconn, place) == ours:
            raise StoreUnusable(f"{place}: {SHARED}")
        moved = read_session(connection) != ours
        other.execute("ROLLBACK")
        if moved:
            raise StoreUnusable(f"{place}: {SHARED}")


def _begin(pgconn: PGconn, place: str) -> int:
    """Begin a transaction: the process that it runs in, which it keeps from others until it ends."""
    pgconn.send_query(b"BEGIN; SELECT pg_backend_pid()")
    if not select.select([pgconn.socket], [], [], PATIENCE)[0]:
        raise StoreUnavailable(f"{place}: {FULL}")
    session = 0
    while (result := pgconn.get_result()) is not None:
        if (
            result.status == ExecStatus.FATAL_ERROR
            and result.error_field(DiagnosticField.SQLSTATE) == b"08P01"
        ):
            raise StoreUnusable(f"{place}: {SHARED}")  # by statement there are no transactions
        if result.status == ExecStatus.TUPLES_OK:
            session = int(result.get_value(0, 0) or 0)
    return session


def _refuse_kept(connection: Connection, number: int, place: str) -> None:
    """Raise StoreUnusable if a lock outlives the client that took it."""
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout TO '{PATIENCE}s'".encode())
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [number], prepare=False)
    except errors.LockNotAvailable:
        raise StoreUnusable(f"{place}: {KEPT}") from None
