"""The Dockerfile, the shell scripts and the public workflow, by their linters, and what must agree with the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import orchestrator
from tests.container.conftest import NEEDED as PROGRAMS
from tests.deploy.tools import ROOT, complaints

DOCKERFILE = ROOT / "Dockerfile"
WORKFLOWS = ROOT / ".github" / "workflows"


def instructions(name: str, text: str = "") -> list[list[str]]:
    """The words of each such line of the Dockerfile."""
    lines = re.findall(rf"^{name} (.+)$", text or DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    return [json.loads(line) if line.startswith("[") else line.split() for line in lines]


def test_what_is_copied_into_the_image_is_not_kept_away() -> None:
    """.dockerignore lets it in, and nothing else."""
    copied = {name for words in instructions("COPY") if "--from=builder" not in words for name in words[:-1]}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert copied == {name.removeprefix("!") for name in ignored if name.startswith("!")} != set()


def test_the_stores_folder_reaches_the_image_with_its_mode() -> None:
    """COPY copies what is in a folder: the one that any user id may write stands below what is copied."""
    made = [words[-1] for words in instructions("RUN") if words[:2] == ["install", "-d"]]
    kept = [
        words[1:]
        for words in instructions("COPY")
        if "--from=builder" in words and made[0].startswith(words[1])
    ]
    (volume,) = instructions("VOLUME")
    assert [(source, made) for source, _ in kept] == [("/opt/image/", [f"/opt/image{volume[0]}"])]


def test_the_image_begins_with_any_base_and_names_its_own_version() -> None:
    """The base is an argument; the label is the program's version."""
    text = DOCKERFILE.read_text("utf-8")
    assert instructions("ARG")[0] == ["BASE=python:3.13-slim"]
    assert [words[0] for words in instructions("FROM")] == ["${BASE}", "${BASE}"]
    assert f'image.version="{orchestrator.__version__}"' in text


def test_ci_installs_every_program_that_a_test_needs() -> None:
    """But for util-linux, which every Debian has: on a new machine nothing is missing."""
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))]
    named = re.findall(r'find_program\("([\w-]+)", "([\w-]+)"\)', "".join(texts))
    needed = {f"{program}:{package}" for program, package in [*named, *PROGRAMS.items()]}
    installed = (ROOT / ".ci" / "run").read_text("utf-8").split()
    assert len(named) >= 6
    assert {pair for pair in needed if not pair.endswith(":util-linux")} - set(installed) == set()


@pytest.mark.deploy
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """But for what .hadolint.yaml leaves out with a reason."""
    assert complaints("hadolint", "--config", "deploy/hadolint.yaml", "Dockerfile") == []


@pytest.mark.deploy
def test_shellcheck_finds_nothing() -> None:
    """In what CI runs."""
    assert complaints("shellcheck", ".ci/run") == []


@pytest.mark.deploy
def test_zizmor_finds_nothing_in_the_workflows() -> None:
    """No secret that leaks, no code from a pull request with rights, no action but by its digest."""
    assert complaints("zizmor", "--offline", "--quiet", "--config", "deploy/zizmor.yaml", WORKFLOWS) == []


@pytest.mark.deploy
def test_a_linter_that_finds_something_is_heard(tmp_path: Path) -> None:
    """Each of the three, on a file that is wrong."""
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo apt-get install x\n")
    (tmp_path / "script.sh").write_text("#!/bin/sh\nrm $1/*\n")
    (tmp_path / "flow.yml").write_text(
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    assert complaints("hadolint", tmp_path / "Dockerfile")
    assert complaints("shellcheck", tmp_path / "script.sh")
    assert complaints("zizmor", "--offline", "--quiet", tmp_path / "flow.yml")
