"""A stage for each scenario: its own clock, simulator and store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import new_database, server
from tests.support.virtual import PostgresClock, Stage


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server, started once per worker."""
    with server() as url:
        yield url


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Make stages, each with a new store, and close them in the end."""
    stages: list[Stage] = []

    def make(**settings: Any) -> Stage:
        stages.append(Stage(tmp_path / f"store-{len(stages)}.db", **settings))
        return stages[-1]

    yield make
    for one in stages:
        one.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Make one stage with a new store of each kind."""
    stages: list[Stage] = []

    def make(**settings: Any) -> Stage:
        if request.param == "sqlite":
            stages.append(Stage(tmp_path / "store.db", **settings))
        else:
            url = new_database(request.getfixturevalue("server_url"), "scenario")
            stages.append(Stage(url, clock=PostgresClock(url), **settings))
        return stages[-1]

    yield make
    for one in stages:
        one.close()


@pytest.fixture
def postgres_stage(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stage]]:
    """Make one stage on PostgreSQL."""
    stages: list[Stage] = []

    def make(**settings: Any) -> Stage:
        url = new_database(request.getfixturevalue("server_url"), "scenario")
        stages.append(Stage(url, clock=PostgresClock(url), **settings))
        return stages[-1]

    yield make
    for one in stages:
        one.close()
