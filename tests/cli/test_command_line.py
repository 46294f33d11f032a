"""The command line where somebody mistypes, looks, or closes a stream: nothing is sent here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.commands import tesnap
from orchestrator.cli.options import OutputOptions, output_options
from orchestrator.cli.resume import parse_answer, queue_failed_again
from orchestrator.core.errors import UsageError
from orchestrator.core.tasks import Counts, Run, RunState
from orchestrator.core.text import plural
from orchestrator.output import status_text
from orchestrator.output.formats import Format, Output
from orchestrator.store.database import Database
from orchestrator.store.queue import Queue
from orchestrator.store.runs import Runs
from orchestrator.store.store import Store
from orchestrator.store.views import RunView, Views
from tests.support.clock import VirtualClock

JOBFILE = """\
version: 1
name: edge
organizations: {acme: {token_env: NOBODY_SETS_THIS}}
jobs: [{name: a, tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of a test makes a store in the state folder of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def jobfile(tmp_path: Path) -> str:
    """A job file with one job for one organization."""
    path = tmp_path / "edge.yaml"
    path.write_text(JOBFILE, encoding="utf-8")
    return str(path)


def typed(*words: str) -> Result:
    """What becomes of a command line."""
    return CliRunner().invoke(tesnap, words)


def process(words: Sequence[str], tmp_path: Path, *, streams: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; `streams` says what is done to its streams."""
    environ = {**os.environ, "TESNAP_STORE": f"sqlite:///{tmp_path}/t.db", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "orchestrator", *words]
    return subprocess.run(
        ["/bin/bash", "-c", f'"$@" {streams}', "bash", *command],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_misspelt_command_is_told_which_one_is_meant() -> None:
    """The nearest command is named."""
    assert "did you mean 'status'?" in typed("stat").output


def test_validate_counts_one_job_as_one(jobfile: str) -> None:
    """One of a thing has no plural."""
    assert "edge: ok, 1 job for 1 organization\n" in typed("validate", jobfile).output
    assert plural(2, "job") == "2 jobs"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--timeout", "0s"), "--timeout must be longer than zero"),
        (("--use", "7"), "--use 7 is more than the 5 snapshots that the limit allows"),
        (("--use", "1001"), "1001 is not in the range 1<=x<=1000"),
        (("--snapshots", "1001"), "1001 is not in the range 1<=x<=1000"),
    ],
)
def test_an_impossible_limit_is_refused(option: tuple[str, str], says: str, jobfile: str) -> None:
    """What no limit can be is wrong usage, and is not quietly made to fit."""
    result = typed("run", jobfile, *option)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("run_id", ["a\x1b[31mred", "a\nb", "-a", ".a", "a b", "a/b", "ä", "a" * 129])
def test_a_run_id_is_a_plain_word(run_id: str, jobfile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is printed, typed and put into names: nothing else is taken, from the environment neither."""
    monkeypatch.setenv("TESNAP_RUN_ID", run_id)
    for result in (typed("run", jobfile, f"--run-id={run_id}"), typed("run", jobfile)):
        assert result.exit_code == 2
        assert "is not a run id: write letters, digits" in " ".join(result.output.split())
        assert "\x1b" not in result.output


@pytest.mark.parametrize(
    "run_id", ["k7f2", "nightly-28471230-3f0e1d2c-1111-4222-8333-444455556666", "A.b_c", "1"]
)
def test_the_names_that_kubernetes_gives_are_run_ids(run_id: str, jobfile: str) -> None:
    """A Job's name, with its controller's uid or a part of it."""
    assert "NOBODY_SETS_THIS is not set" in str(typed("run", jobfile, "--run-id", run_id).exception)


def test_a_suggested_command_can_be_pasted(tmp_path: Path) -> None:
    """Where a file's name has spaces it is quoted."""
    path = tmp_path / "my jobs.yaml"
    assert f"`tesnap validate '{path}'` and `tesnap plan '{path}'`" in typed("init", str(path)).output


@pytest.mark.parametrize("text", ["yes", "Y", "created", "bad id !", "https://app.thousandeyes.com/view/1"])
def test_what_is_no_snapshot_id_is_not_taken_for_one(text: str) -> None:
    """Settling cannot be taken back, so a word or a link is asked about again."""
    with pytest.raises(click.BadParameter, match="is not a snapshot's id"):
        parse_answer(text)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("no", None),
        (" N ", None),
        ("not-created", None),
        ("wdiac", "wdiac"),
        ("", ""),
        ("281474976710802",) * 2,
    ],
)
def test_an_answer_is_an_id_or_no_or_nothing(text: str, means: str | None) -> None:
    """A short no is a no."""
    assert parse_answer(text) == means


@pytest.mark.parametrize("word", ["created", "not-created", "no", "yes"])
def test_a_verdict_is_no_id_in_a_script_either(word: str) -> None:
    """`settle RUN TASK created not-created` is a slip."""
    assert "is not a snapshot's id" in typed("settle", "last", "d9e845", "created", word).output


def test_last_is_no_run_id(jobfile: str) -> None:
    """Nobody could ever name that run: `last` is the latest one."""
    ended = typed("run", jobfile, "--run-id", "last")
    assert ended.exit_code == 2
    assert "`last` means the latest run" in ended.output


@pytest.mark.parametrize(
    ("words", "variables", "form"),
    [
        (["--json"], {"TESNAP_FORMAT": "csv"}, Format.JSONL),
        (["--format", "csv"], {"TESNAP_JSON": "1"}, Format.CSV),
        (["--json", "--format", "jsonl"], {}, Format.JSONL),
        ([], {"TESNAP_FORMAT": "csv", "TESNAP_JSON": "1"}, Format.CSV),
    ],
)
def test_an_option_goes_before_the_variable_of_another_one(
    words: list[str], variables: dict[str, str], form: Format
) -> None:
    """Both say what standard output is to have."""
    found: list[Format] = []

    @click.command()
    @output_options
    def command(*, output: OutputOptions) -> None:
        given = None if output.format is None else Format(output.format)
        shown = Output(stdout=sys.stdout, stderr=sys.stderr, clock=VirtualClock(), format=given)
        found.append(shown.chosen_format)

    assert CliRunner(env=variables).invoke(command, words).exit_code == 0
    assert found == [form]


def test_two_options_that_contradict_each_other_are_an_error(jobfile: str) -> None:
    """Nothing is guessed."""
    ended = typed("run", jobfile, "--json", "--format", "table")
    assert (ended.exit_code, "contradict each other" in ended.output) == (2, True)


def shown(state: RunState, counts: Counts, processes: int = 0) -> list[str]:
    """The lines of `status`."""
    run = Run(id="k7f2", job="edge", state=state, tasks=counts.total)
    view = RunView(run=run, counts={"acme": counts}, processes=processes)
    found = status_text.RunStatus(view=view, organizations={"acme": counts}, waiting=(), now=0.0)
    return list(status_text.status_lines(found, UTC, store=" --store foo"))


@pytest.mark.parametrize(
    ("state", "counts", "command"),
    [
        (RunState.ACTIVE, Counts(created=1, queued=2), "tesnap resume k7f2"),
        (RunState.FINISHED, Counts(created=1, uncertain=2), "tesnap settle k7f2"),
        (RunState.FINISHED, Counts(created=1, failed=2), "tesnap resume k7f2 --failed"),
        (RunState.FINISHED, Counts(created=1), "tesnap report k7f2"),
        (RunState.CANCELLED, Counts(created=1, queued=2), "tesnap report k7f2"),
    ],
)
def test_status_says_what_to_type_next(state: RunState, counts: Counts, command: str) -> None:
    """A run that nobody works on names the command that goes on with it, and the store it is in."""
    assert shown(state, counts)[-1] == f"next: {command} --store foo"


def test_status_of_a_run_at_work_names_no_command() -> None:
    """Whoever works on it carries it on."""
    lines = shown(RunState.ACTIVE, Counts(queued=2), processes=1)
    assert lines[0].endswith("active, 1 process is working on it")
    assert not any(line.startswith("next:") for line in lines)


@pytest.mark.process
@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&-"])
def test_a_closed_stream_does_not_stop_a_command(streams: str, jobfile: str, tmp_path: Path) -> None:
    """It is as if its output went nowhere."""
    assert process(["plan", "--offline", jobfile], tmp_path, streams=streams).returncode == 0


@pytest.mark.process
def test_a_reader_who_leaves_is_no_error(tmp_path: Path) -> None:
    """`| head` and the like have seen enough."""
    gone = process(["schema"], tmp_path, streams='| true; exit "${PIPESTATUS[0]}"')
    assert (gone.returncode, gone.stderr) == (0, "")


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_named(jobfile: str, tmp_path: Path) -> None:
    """A full disk is no error of the program."""
    full = process(["plan", "--offline", jobfile], tmp_path, streams="> /dev/full")
    assert full.returncode == 1
    assert full.stderr == "tesnap: error: the output cannot be written: No space left on device\n"


@pytest.mark.process
def test_an_encoding_that_lacks_a_character_does_not_stop_a_command(jobfile: str, tmp_path: Path) -> None:
    """What cannot be written is written as Python escapes it."""
    plan = process(["plan", "--offline", jobfile], tmp_path, streams="")
    assert "14:00\\u201316:00 UTC" in plan.stdout


@pytest.mark.process
def test_json_stays_json_in_an_encoding_that_lacks_a_character(jobfile: str, tmp_path: Path) -> None:
    """Its own escapes, not Python's."""
    Path(jobfile).write_text(JOBFILE.replace("name: a", "name: näme"), encoding="utf-8")
    done = process(["plan", "--offline", "--json", jobfile], tmp_path, streams="")
    assert done.returncode == 0
    assert "n\\u00e4me" in done.stdout
    assert "näme" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


def test_names_cannot_be_checked_offline_and_are_not_refused_for_it(tmp_path: Path) -> None:
    """The plan shows when the snapshot would go, and says that its test's name is still to be checked."""
    path = tmp_path / "edge.yaml"
    path.write_text(JOBFILE.replace('["202701"]', '[{id: "202701", test_name: Login}]'), encoding="utf-8")
    plan = CliRunner(env={"TESNAP_STORE": f"sqlite:///{tmp_path}/t.db"}).invoke(
        tesnap, ["plan", "--offline", str(path)]
    )
    assert "note: the name of 1 test is not checked offline; a run checks before it sends" in plan.output
    assert "refused" not in plan.output


class _Refused(Store):
    """A store in which all that failed was refused while planning: there is nothing to queue again."""

    class _Runs(Runs):
        def retry_failed(self, run_id: str) -> int:
            return 0

    class _Views(Views):
        def run(self, run_id: str) -> RunView:
            return RunView(run=Run(id=run_id, job="edge"), counts={"acme": Counts(failed=2)})

    def __init__(self) -> None:
        nowhere = cast("Database", None)
        self.runs, self.views = self._Runs(nowhere, Queue(nowhere).register), self._Views(nowhere)


def test_what_was_refused_while_planning_is_planned_anew_instead_of_retried() -> None:
    """A retry would be refused again, so the command that helps is named."""
    with pytest.raises(UsageError, match=r"plan again with `tesnap run /jobs/edge.yaml`"):
        queue_failed_again(_Refused(), Run(id="k7f2", job="edge", files=("/jobs/edge.yaml",)))


def test_the_starter_asks_for_the_variable_that_the_readme_sets(tmp_path: Path) -> None:
    """Following the README step by step works."""
    path = tmp_path / "jobs.yaml"
    assert typed("init", str(path)).exit_code == 0
    assert "token_env: TE_TOKEN" in path.read_text(encoding="utf-8")
    assert "ok, 1 job for 1 organization" in typed("validate", str(path)).output
