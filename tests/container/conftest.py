"""The engine and the image that all tests of this folder share, and the simulator that containers talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.engine import TAG, Engine, copy_context
from tests.container.pods import World, serve_world
from tests.support.programs import find_program

NEEDED = {"podman": "podman", "runc": "runc", "conmon": "conmon", "debootstrap": "debootstrap"}
"""Programs, and Debian's packages that have them."""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One podman for all; what no image needs any more goes at the end."""
    for program, package in NEEDED.items():
        find_program(program, package)
    made = Engine(tmp_path_factory.mktemp("engine"))
    yield made
    made.act("image", "prune", "--force")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the builder is given: the project's own files, as they are."""
    return copy_context(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def image(engine: Engine, context: Path) -> str:
    """The image, built of the Dockerfile as it stands."""
    return engine.build(context, tag=TAG, BASE=engine.base())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A simulator on loopback with sixty tests, and a folder for job files and tokens."""
    with serve_world(tmp_path) as made:
        yield made
