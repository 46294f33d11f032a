"""One suite for both stores: every test that takes a `world` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.world import PostgresWorld, SqliteWorld, World
from tests.support.postgres import new_database, server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server, started once per worker."""
    with server() as url:
        yield new_database(url, "tesnap_tests")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty store of each kind, in virtual time."""
    if request.param == "sqlite":
        made: World = SqliteWorld(tmp_path / "store.db")
    else:
        made = PostgresWorld(request.getfixturevalue("postgres_url"))
    yield made
    made.close()


@pytest.fixture
def sqlite_world(tmp_path: Path) -> Iterator[SqliteWorld]:
    """An empty SQLite store, for what only it has."""
    made = SqliteWorld(tmp_path / "store.db")
    yield made
    made.close()


@pytest.fixture
def postgres_world(postgres_url: str) -> Iterator[PostgresWorld]:
    """An empty PostgreSQL store, for what only it has."""
    made = PostgresWorld(postgres_url)
    yield made
    made.close()
