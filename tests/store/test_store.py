"""Which store is meant, and that nothing else is taken for one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.core.errors import StoreUnusable, UsageError
from orchestrator.store.store import open_store, store_exists
from tests.support.clock import VirtualClock


@pytest.mark.parametrize(
    "url", ["foo", "~nobody-here/t.db", "sqlite:////", "sqlite:////tmp", "sqlite:////a%00b"]
)
def test_what_is_no_file_is_no_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare word, which is more likely a slip, a folder, or what can be no path."""
    monkeypatch.chdir(tmp_path)
    for read_only in (False, True):
        with pytest.raises(UsageError, match="not a store"):
            open_store(url, clock=VirtualClock(), read_only=read_only)
    with pytest.raises(UsageError, match="not a store"):
        store_exists(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["t.db", "./t", "t.sqlite", "sub/t"])
def test_a_relative_path_that_looks_like_one_is_taken(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a slash or the ending of a database."""
    monkeypatch.chdir(tmp_path)
    open_store(url, clock=VirtualClock()).close()
    assert (tmp_path / url).exists()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("tables", [["CREATE TABLE bookmarks (url)"], ["CREATE TABLE meta (key, value)"]])
def test_another_programs_database_is_refused_and_left_alone(
    tables: list[str], mode: str, tmp_path: Path
) -> None:
    """Nothing is written into it or beside it."""
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        for table in tables:
            connection.execute(table)
        connection.commit()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match="another program's database"):
            open_store(str(path), clock=VirtualClock(), read_only=read_only)
    assert [file.name for file in tmp_path.iterdir()] == ["foreign.db"]
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_gets_nothing_beside_it(tmp_path: Path) -> None:
    """Somebody named the wrong file."""
    path = tmp_path / "notes.db"
    path.write_text("not a database, but long enough to have a header\n" * 99, encoding="utf-8")
    with pytest.raises(StoreUnusable, match="not a SQLite database"):
        open_store(str(path), clock=VirtualClock())
    assert [file.name for file in tmp_path.iterdir()] == ["notes.db"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """Whoever made it before, with its permissions, meant it to be one."""
    path = tmp_path / "new.db"
    path.touch()
    open_store(str(path), clock=VirtualClock()).close()
    open_store(str(path), clock=VirtualClock()).close()
