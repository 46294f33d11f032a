"""Durable queues: one logic, written once (docs/decisions/0003-one-sql-two-stores.md), over SQLite or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from orchestrator.core import Clock, StoreUnusable, UsageError, quote
from orchestrator.store.queue import Store
from orchestrator.store.sqlite import SqliteDatabase

_SUFFIXES = (".db", ".sqlite", ".sqlite3")

__all__ = ["Store", "open_store", "store_exists"]


def open_store(url: str, *, clock: Clock, read_only: bool = False) -> Store:
    """The store behind `sqlite:////absolute/path` (or a plain path) or `postgresql://…`.

    It is made, or brought to the present version, if need be; with `read_only` nothing is written, and
    it has to exist. Raises `StoreUnusable` or `StoreUnavailable`.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return _open_postgres(url, read_only=read_only)
    path = _path(url)
    if read_only and not _exists(path):
        raise StoreUnusable(f"there is no store at {path} yet: `tesnap run` makes one")
    return Store(SqliteDatabase(path, clock, read_only=read_only))


def store_exists(url: str) -> bool:
    """Whether there is something to open; a PostgreSQL store makes its schema when it is first opened."""
    return url.startswith(("postgresql://", "postgres://")) or _exists(_path(url))


def _exists(path: Path) -> bool:
    """Whether there is a file; StoreUnusable where this user may not even look."""
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
    if "/" not in url and not url.endswith(_SUFFIXES):
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
