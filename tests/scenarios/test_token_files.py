"""A token that is refused in the middle of a run, when its file says something else by then, the same, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer, ReloadableBearer, read_bearer
from orchestrator.core.events import Ending
from orchestrator.core.jobs import CredentialSource, Limit, Organization
from orchestrator.core.tasks import Reason
from orchestrator.output.sentences import waiting_text
from orchestrator.simulator import LoggedRequest, Simulator
from tests.support.commands import LONGEST, ROOT, environment, run_tesnap
from tests.support.http import jobfile_for, run_over_http, simulated
from tests.support.programs import PATIENCE
from tests.support.virtual import Stage, drive

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

FIRST, SECOND = "token-1", "token-1-2"
TESTS = 4


HOUR = 3600.0
MANY = Limit(snapshots=20, use=20)
"""Slots for every attempt: a refused one has its slot out for a period, too."""


class TokenFile(Mapping[str, Bearer]):
    """Whatever organization is asked for: the token in the file, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._source = CredentialSource(file=str(path))

    def __getitem__(self, name: str) -> Bearer:
        return read_bearer(self._source, environ={})

    def __iter__(self) -> Iterator[str]:
        return iter(("whoever is asked for",))

    def __len__(self) -> int:
        return 1


def expire(simulator: Simulator, text: str) -> None:
    """The server takes a token no longer."""
    bearers = simulator._origin._bearers
    bearers[text] = replace(bearers[text], expired=True)


class Rotation:
    """A run in virtual time whose token is refused from its second snapshot on, with a real file to read it from."""

    def __init__(self, at: Stage, path: Path, *, organizations: int = 1) -> None:
        self.at, self.path = at, path
        path.write_text(f"{FIRST}\n")
        self.jobfile = at.jobfile(TESTS)
        self.worker, self.notebook = at.worker(self.jobfile)
        served = next(one for one in self.worker._organizations if one.name == "org-1")
        source = Organization(name="org-1", credential=CredentialSource(file=str(path)))
        bearer = ReloadableBearer(source, lambda one: read_bearer(one.credential, environ={}))

        def reload() -> bool:
            changed = bearer.reload()
            at.tokens[served.identity] = bearer()
            return changed

        served.rereads, served.reload = True, reload
        self.begun, self.identity = at.clock.boot(), served.identity
        self.after(0.5, lambda: expire(at.simulator, FIRST))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Have this happen so many seconds after the start; the first token expires after half a second."""

        def happen() -> None:
            act()

        self.at.timeline.at(self.begun + seconds, happen)

    def run(self) -> Ending:
        """Run to the end."""
        (ending,) = drive(self.at.timeline, [self.worker], longest=HOUR)
        return ending

    @property
    def refused(self) -> int:
        """How many requests were answered 401."""
        return sum(entry.status == 401 for entry in self.at.simulator.log)

    def said(self, name: str) -> int:
        """How often an event was told."""
        return [event.name for event in self.notebook.events].count(name)


@pytest.fixture
def rotation(stage: Callable[..., Stage], tmp_path: Path) -> Rotation:
    """One organization, whose second request is refused."""
    return Rotation(stage(tests=TESTS, switches={"tokens": 2}, limit=MANY), tmp_path / "token")


@pytest.mark.parametrize("after", [0.6, 6.0, 60.0, 110.0])
def test_a_token_that_is_replaced_within_two_minutes_stops_nothing(rotation: Rotation, after: float) -> None:
    """The refused request was no attempt; everything else is made with the new one, after one more request alone."""
    rotation.after(after, lambda: rotation.path.write_text(f"{SECOND}\n"))
    ending = rotation.run()
    assert (ending.exit_code, ending.counts.created) == (0, TESTS)
    assert {result.attempts for result in rotation.notebook.results} == {1}
    assert (rotation.said("token.refused"), rotation.said("token.renewed")) == (1, 1)
    assert ending.seconds < after + 60


def unreadable(path: Path) -> None:
    """What stands at the path is no file."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "happens",
    [
        lambda path: None,
        lambda path: path.write_text(f"  {FIRST}  \n"),
        lambda path: path.write_text(""),
        lambda path: path.write_text("Bearer token-1-2"),
        Path.unlink,
        unreadable,
    ],
    ids=["untouched", "other white space", "empty", "malformed", "gone", "unreadable"],
)
def test_without_a_new_token_the_organization_stops_after_two_minutes(
    rotation: Rotation, happens: Callable[[Path], object]
) -> None:
    """What was made stays made, the rest is pending for whoever replaces the token, and nobody asked again."""
    rotation.after(6, lambda: happens(rotation.path))
    refused: list[int] = []
    rotation.after(20, lambda: refused.append(rotation.refused))
    ending = rotation.run()
    assert (ending.exit_code, ending.counts.created + ending.counts.pending) == (4, TESTS)
    assert ending.pending_reasons == {"token_refused": ending.counts.pending}
    assert [rotation.refused] == refused
    assert rotation.said("organization.stopped") == 1
    assert 120 <= ending.seconds < 130
    said = [event.text for event in rotation.notebook.events]
    assert not [text for text in said if SECOND in text]


def test_each_new_text_is_tried_once_and_a_half_written_one_never(rotation: Rotation) -> None:
    """Two wrong ones, the first one again, an empty file, half of the right one for a moment: then the right one."""
    refused: list[int] = []
    for seconds, text in (
        (6, "wrong-1"),
        (26, FIRST),
        (46, "wrong-2"),
        (66, ""),
        (76, SECOND[:-2]),
        (81, SECOND),
    ):
        rotation.after(seconds, partial(rotation.path.write_text, text))
    for seconds in (5, 25, 45, 65, 80):
        rotation.after(seconds, lambda: refused.append(rotation.refused))
    ending = rotation.run()
    assert (ending.exit_code, ending.counts.created) == (0, TESTS)
    assert [now - before for before, now in pairwise(refused)] == [1, 0, 1, 0]


def test_the_wait_for_a_token_is_explained(rotation: Rotation) -> None:
    """To whoever watches, with its end and its zone."""
    rotation.run()
    waits = [why for progress in rotation.notebook.progresses for why in progress.waiting]
    (until,) = {round(why.until or 0) for why in waits if why.reason is Reason.TOKEN_REFUSED and why.until}
    why = next(why for why in waits if why.reason is Reason.TOKEN_REFUSED and why.until)
    end = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S UTC")
    expected = f"org-1: token refused; next when its token file has a new one; it is read again until {end}"
    assert expected in waiting_text(why, until - 60, UTC)


def test_a_signal_ends_the_wait_for_a_token(rotation: Rotation) -> None:
    """At once, with what is pending and why."""
    rotation.after(30, lambda: rotation.worker.ask_to_stop("SIGTERM"))
    ending = rotation.run()
    assert (ending.exit_code, list(ending.pending_reasons)) == (5, ["token_refused"])
    assert ending.seconds < 35


def test_other_organizations_go_on_meanwhile(stage: Callable[..., Stage], tmp_path: Path) -> None:
    """Nobody waits for a token that is not theirs."""
    rotation = Rotation(stage(organizations=2, tests=TESTS, switches={"tokens": 2}), tmp_path / "token")
    made: list[int] = []
    rotation.after(
        60,
        lambda: made.append(sum(r.task.organization != rotation.identity for r in rotation.notebook.results)),
    )
    assert rotation.run().exit_code == 4
    assert made == [TESTS]


def test_a_variable_says_nothing_new(rotation: Rotation) -> None:
    """The organization stops at once, as it has no file."""
    for one in rotation.worker._organizations:
        one.rereads = False
    ending = rotation.run()
    assert (ending.exit_code, rotation.said("token.refused")) == (4, 0)
    assert ending.seconds < 10


def test_the_run_goes_on_when_the_token_is_replaced_later(tmp_path: Path) -> None:
    """As the last line says: resumed under its id, it makes the rest and nothing twice."""
    path, store = tmp_path / "token", tmp_path / "store.db"
    path.write_text(FIRST)

    def after_the_first(entry: LoggedRequest) -> None:
        if entry.counted:
            expire(simulator, FIRST)

    with simulated(tests=3, tokens=2, on_entry=after_the_first) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        first, _ = run_over_http(simulator, jobfile, store, bearers=TokenFile(path), run_id="r1")
        path.write_text(SECOND)
        second, _ = run_over_http(simulator, jobfile, store, bearers=TokenFile(path), run_id="r1")
    assert (first.exit_code, first.counts.pending) == (4, 2)
    assert (second.exit_code, second.counts.created) == (0, 3)
    assert sum(entry.counted for entry in simulator.log) == 3


def mount(folder: Path, token: str, version: str) -> Path:
    """Put a token where Kubernetes would: a link to a link to a folder, which is swapped in one step."""
    data = folder / version
    data.mkdir()
    (data / "token").write_text(f"{token}\n")
    (folder / "..new").symlink_to(version)
    (folder / "..new").replace(folder / "..data")
    if not (folder / "token").is_symlink():
        (folder / "token").symlink_to("..data/token")
    return folder / "token"


@pytest.mark.process
@pytest.mark.parametrize(
    "job",
    ["tests: ['202701', '202702']", "select: {type: http-server}"],
    ids=["by id", "selected"],
)
def test_a_secret_that_kubernetes_swaps_is_taken_up_by_a_real_process(tmp_path: Path, job: str) -> None:
    """The first answer of all is a 401; seconds later the secret is another one, and the run ends as if it had been."""
    with simulated(tests=TESTS, tokens=2) as (simulator, url):
        expire(simulator, FIRST)
        token = mount(tmp_path, FIRST, "..2026_1")
        file = tmp_path / "jobs.yaml"
        file.write_text(
            "version: 1\nname: rotation\norganizations:\n"
            f"  acme: {{token_file: {token}, base_url: '{url}', limit: {{per: 3s, guard: 10ms}}}}\n"
            f"jobs:\n  - {{name: one, {job}, windows: [{{last: 1h}}]}}\n"
        )
        with started(tmp_path, "run", str(file)) as run:
            wait_for(lambda: any(entry.status == 401 for entry in simulator.log))
            said = ""
            if job.startswith("tests"):
                wait_for(lambda: "is read again until" in run_tesnap(tmp_path, "status").stdout)
                said = run_tesnap(tmp_path, "status").stdout
            refused = sum(entry.status == 401 for entry in simulator.log)
            mount(tmp_path, SECOND, "..2026_2")
            out, err = run.communicate(timeout=LONGEST)
        assert sum(entry.status == 401 for entry in simulator.log) == refused
    assert run.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["counts"]["created"] > 0
    assert FIRST not in out + err + said
    assert SECOND not in out + err


def wait_for(happened: Callable[[], object]) -> None:
    """Wait until this is so, a minute at most."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.2)


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process that runs beside the test, and ends with it."""
    run = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield run
    finally:
        run.kill()
        run.wait()
