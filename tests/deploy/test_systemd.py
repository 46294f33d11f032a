"""The units for systemd: what its own tools have against them, and what the job file gets from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from orchestrator.jobfile import read_jobfiles
from tests.support.programs import find_program

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"

EXPOSURE = 15
"""Tenths of systemd's exposure level, from 0 to 100: what it calls OK is below 50. The number may only fall."""


def unit_lines(name: str) -> dict[str, str]:
    """The settings of a unit; the last one of a name."""
    text = (UNITS / name).read_text("utf-8")
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def systemd(folder: Path, *words: str) -> tuple[int, str]:
    """What systemd-analyze says about copies of the units."""
    for unit in UNITS.iterdir():
        text = unit.read_text("utf-8").replace("/usr/local/bin/tesnap", "/bin/true")  # which must be there
        (folder / unit.name).write_text(text)
    command = [str(find_program("systemd-analyze", "systemd")), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.deploy
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """No unknown setting, no wrong value, for a service and a timer of any name."""
    units = ("./tesnap@nightly.service", "./tesnap@nightly.timer")
    assert systemd(tmp_path, "verify", "--man=no", *units) == (0, "")


def drop_in() -> str:
    """The settings that the page adds to the service for metrics."""
    page = (ROOT / "docs" / "unattended.md").read_text("utf-8")
    (text,) = re.findall(r"^  ```ini\n(.*?)^  ```$", page, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(text)


@pytest.mark.deploy
def test_systemd_takes_what_the_page_adds_for_metrics(tmp_path: Path) -> None:
    """As `systemctl edit` stores it: beside the unit."""
    place = tmp_path / "tesnap@nightly.service.d"
    place.mkdir()
    (place / "override.conf").write_text(drop_in())
    assert systemd(tmp_path, "verify", "--man=no", "./tesnap@nightly.service") == (0, "")
    (place / "override.conf").write_text(drop_in().replace("ExecStopPost", "ExecStopPast"))
    assert "ExecStopPast" in systemd(tmp_path, "verify", "--man=no", "./tesnap@nightly.service")[1]


@pytest.mark.deploy
def test_a_unit_that_systemd_does_not_take_is_heard(tmp_path: Path) -> None:
    """A setting that nobody knows."""
    units = tmp_path / "units"
    units.mkdir()
    shutil.copy(UNITS / "tesnap@.service", units / "other@.service")
    with (units / "other@.service").open("a") as unit:
        unit.write("[Service]\nRestartSek=1\n")
    _, said = systemd(units, "verify", "--man=no", "./other@nightly.service")
    assert "RestartSek" in said


@pytest.mark.deploy
def test_the_service_is_exposed_to_little(tmp_path: Path) -> None:
    """By systemd's own measure."""
    bound = f"--threshold={EXPOSURE}"
    code, said = systemd(tmp_path, "security", "--offline=true", bound, "./tesnap@.service")
    assert code == 0, said.splitlines()[-1]
    assert systemd(tmp_path, "security", "--offline=true", "--threshold=5", "./tesnap@.service")[0] == 1


@pytest.mark.deploy
def test_the_timer_names_a_time_in_utc(tmp_path: Path) -> None:
    """A time that systemd understands, in a zone without gaps."""
    when = unit_lines("tesnap@.timer")["OnCalendar"]
    code, said = systemd(tmp_path, "calendar", when)
    assert code == 0, said
    assert when.endswith(" UTC")


def test_only_a_stopped_run_is_started_again() -> None:
    """As in Kubernetes: 5 carries on, 1 to 4 would only fail again; and a stop is given the time that it needs."""
    service = unit_lines("tesnap@.service")
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "1 2 3 4")
    assert int(service["TimeoutStopSec"]) >= 25


def test_a_job_file_finds_the_credential(tmp_path: Path) -> None:
    """`${CREDENTIALS_DIRECTORY}` is filled in, and the name is the one of the unit."""
    name = unit_lines("tesnap@.service")["LoadCredential"].split(":")[0]
    file = tmp_path / "nightly.yaml"
    file.write_text(
        f"version: 1\norganizations: {{acme: {{token_file: '${{CREDENTIALS_DIRECTORY}}/{name}'}}}}\n"
        "jobs: [{name: one, tests: [1], windows: [{last: 1h}]}]\n"
    )
    reading = read_jobfiles([str(file)], environ={"CREDENTIALS_DIRECTORY": "/run/credentials/x"})
    (organization,) = reading.jobfile.organizations.values()
    assert "/run/credentials/x/token" in str(organization.credential)
