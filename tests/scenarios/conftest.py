"""A stage for each scenario: its own clock, simulator and store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.virtual import Stage


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
