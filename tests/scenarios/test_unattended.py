"""A job that nobody watches: what its metrics, its pings and the store say of each night."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.simulator import Simulator, example_world, serve
from tests.support.commands import ROOT, Ran, environment, ran
from tests.support.switches import CHECK, PATHS, Switches, serve_switches
from tests.support.terminals import TESNAP, on_terminal

pytestmark = pytest.mark.socket

JOBFILE = """\
version: 1
name: nightly
organizations: {acme: {token_file: token}, globex: {token_file: other}}
ping: {url_file: switch, style: STYLE}
jobs:
  - {name: a, organization: acme, tests: ["TEST"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}
"""

LOOKS = 1000
"""Looks at a run before it is given up that its process is seen at work."""


@dataclass(slots=True, kw_only=True)
class Nights:
    """A folder with a job, its API, its switch and its metrics."""

    folder: Path
    simulator: Simulator
    switches: Switches

    def night(self, *words: str, style: str = "healthchecks") -> Ran:
        """One start of the whole job, as cron does it."""
        (self.folder / "switch").write_text(self.switches.url + PATHS[style])
        (self.folder / "jobs.yaml").write_text(JOBFILE.replace("STYLE", style).replace("TEST", self.tests[0]))
        return ran("run", "jobs.yaml", "--metrics", "tesnap.prom", *words)

    @property
    def tests(self) -> list[str]:
        """The ids of the tests there are."""
        return [one.test_id for one in self.simulator.world.organizations[0].account_groups[0].tests]

    @property
    def metrics(self) -> dict[str, float]:
        """The samples of the metrics file, those of snapshots by result."""
        text = (self.folder / "tesnap.prom").read_text()
        found = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {one.labels.get("result", one.name.removeprefix("tesnap_")): one.value for one in found}


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nights]:
    """A job with a good token, an API and a switch that answer."""
    simulator = Simulator(example_world(1, 3), latency=(0.0, 0.0))
    (tmp_path / "token").write_text("token-1")
    monkeypatch.chdir(tmp_path)
    with serve(simulator) as url, serve_switches() as switches:
        monkeypatch.setenv("TE_BASE_URL", url)
        monkeypatch.setenv("TESNAP_STORE", f"sqlite:///{tmp_path}/store.db")
        yield Nights(folder=tmp_path, simulator=simulator, switches=switches)


def test_a_success_a_failure_and_a_success_again(nights: Nights) -> None:
    """The last success survives the failure, as alert rules need it; the switch hears each end as what it was."""
    assert nights.night("--again").code == 0
    first = nights.metrics
    assert (first["last_run_exit_code"], first["created"], first["pending"]) == (0, 1, 0)
    assert first["last_success_timestamp_seconds"] == first["last_run_timestamp_seconds"]
    assert first["earliest_expiry_timestamp_seconds"] > first["last_run_timestamp_seconds"]
    (nights.folder / "token").write_text("token: not one")
    assert nights.night("--again").code == 2
    second = nights.metrics
    assert second["last_run_exit_code"] == 2
    assert second["last_success_timestamp_seconds"] == first["last_success_timestamp_seconds"]
    assert second["last_run_timestamp_seconds"] > first["last_run_timestamp_seconds"]
    (nights.folder / "token").write_text("token-1")
    assert nights.night("--again").code == 0
    third = nights.metrics
    assert third["last_run_exit_code"] == 0
    assert third["last_success_timestamp_seconds"] > first["last_success_timestamp_seconds"]
    assert nights.switches.said == ["start", "success", "fail", "start", "success"]
    one, two, failed, three, four = (signal.series for signal in nights.switches.taken)
    assert one == two != failed != three == four
    assert nights.switches.refused == []


@pytest.mark.parametrize(
    ("style", "said"),
    [("cronitor", ["run", "complete"]), ("kuma", ["up"]), ("plain", ["alive"])],
)
def test_each_style_of_switch_is_told(nights: Nights, style: str, said: list[str]) -> None:
    """With its address, which is a secret, in no word that is printed."""
    ended = nights.night(style=style)
    assert ended.code == 0
    assert nights.switches.said == said
    assert CHECK not in ended.stdout + ended.stderr


def test_a_switch_that_cannot_be_reached_changes_nothing(nights: Nights) -> None:
    """A warning without the address, also with --quiet: nobody else would say so."""
    nights.switches.url = nights.switches.url.rpartition(":")[0] + ":9"
    ended = nights.night("--quiet")
    assert ended.code == 0
    assert (
        ended.stderr.count("healthchecks was not pinged") == ended.stderr.count("\n") == 2
    )  # its start, its end
    assert "the run itself is not affected" in ended.stderr
    assert CHECK not in ended.stderr


def test_a_finished_run_that_prints_its_records_again_pings_once(nights: Nights) -> None:
    """A pod that was replaced after its end may not have pinged; it has not begun anything."""
    assert nights.night("--run-id", "r1").code == 0
    assert nights.night("--run-id", "r1").code == 0
    assert nights.switches.said == ["start", "success", "success"]


def test_the_switch_of_an_organization_hears_of_that_one_alone(nights: Nights) -> None:
    """Of the other one's trouble neither its word nor its exit code."""
    text = JOBFILE.replace("ping:", "organization_defaults: {ping:").replace("STYLE}", "cronitor}}")
    text = text.replace("switch,", "'to-{organization}',").replace(
        "organization: acme,", 'organization: "*",'
    )
    (nights.folder / "jobs.yaml").write_text(text.replace('tests: ["TEST"]', "select: {test_name: '*'}"))
    for name in ("acme", "globex"):
        (nights.folder / f"to-{name}").write_text(nights.switches.url + PATHS["cronitor"])
    assert ran("run", "jobs.yaml").code == 4
    assert sorted(nights.switches.said) == ["complete", "fail", "run", "run"]
    assert {one.text: one.query["status_code"] for one in nights.switches.taken if one.said != "run"} == {
        "acme: everything is made": ["0"],
        "globex: not everything is made": ["3"],
    }


def test_a_job_file_that_cannot_be_read_fails_the_switch_of_the_options(nights: Nights) -> None:
    """That of the file is not known then; a dry run tells nobody."""
    (nights.folder / "switch").write_text(nights.switches.url + PATHS["healthchecks"])
    (nights.folder / "jobs.yaml").write_text("version: 1\njob: []\n")
    words = ("run", "jobs.yaml", "--metrics", "tesnap.prom", "--ping-url-file", "switch")
    assert [ran(*words).code, ran(*words, "--dry-run").code, ran(*words[:2]).code] == [2, 2, 2]
    assert nights.switches.said == ["fail"]
    assert nights.switches.taken[0].text.startswith("jobs.yaml:1:1: error: `jobs` is missing")
    assert not (nights.folder / "tesnap.prom").exists()


def test_what_makes_nothing_pings_nobody(nights: Nights) -> None:
    """Neither a plan, nor a dry run, nor a rehearsal."""
    assert nights.night("--dry-run").code == 0
    for command in ("plan", "rehearse"):
        assert ran(command, "jobs.yaml").code == 0
    assert nights.switches.taken == []
    assert not (nights.folder / "tesnap.prom").exists()


def test_a_part_run_by_hand_turns_nothing_green(nights: Nights) -> None:
    """It is no success of the job, and the switch of the file hears nothing; one that is named does."""
    (nights.folder / "token").write_text("REPLACE_ME")
    assert nights.night().code == 2
    (nights.folder / "token").write_text("token-1")
    before = list(nights.switches.said)
    part = nights.night("--organization", "acme")
    assert (part.code, json.loads(part.stdout.splitlines()[-1])["counts"]["created"]) == (0, 1)
    assert nights.switches.said == before == ["fail"]
    assert nights.metrics["last_run_exit_code"] == 2
    assert "last_success_timestamp_seconds" not in nights.metrics
    run = json.loads(part.stdout.splitlines()[0])["run_id"]
    assert ran("resume", run).code == 0
    assert nights.switches.said == before
    assert nights.night("--organization", "acme", "--ping-url-file", "switch").code == 0
    assert nights.switches.said == [*before, "start", "success"]


def test_metrics_of_all_jobs_come_from_the_store(nights: Nights) -> None:
    """A CronJob's own file is gone with its pod."""
    assert nights.night().code == 0
    assert nights.night("--name", "other", "--again").code == 0
    told = ran("metrics")
    names = {
        one.labels["name"]
        for family in text_string_to_metric_families(told.stdout)
        for one in family.samples
        if one.name == "tesnap_last_success_timestamp_seconds"
    }
    assert (told.code, names) == (0, {"nightly", "other"})
    assert ran("metrics", "--output", "all.prom").code == 0
    assert (nights.folder / "all.prom").read_text() == told.stdout
    assert 'organization="acme"' in ran("metrics", "--metrics-organizations").stdout


def test_a_job_that_was_renamed_leaves_the_metrics_when_somebody_says_so(nights: Nights) -> None:
    """Never by itself: it might only be late. Its runs stay, and a later run brings it back."""
    assert nights.night("--name", "old").code == 0
    assert nights.night().code == 0
    wrong = ran("metrics", "--forget", "nightly", "--forget", "oold")
    assert (wrong.code, wrong.stdout) == (2, "")
    assert "there are no metrics of a job 'oold'; there are some of old" in wrong.stderr
    assert 'name="nightly"' in ran("metrics").stdout  # all or nothing
    runs = ran("runs").stdout
    told = ran("metrics", "--metrics-organizations", "--forget", "old")
    assert (told.code, 'name="old"' in told.stdout, 'name="nightly"' in told.stdout) == (0, False, True)
    assert told.stderr == "old is left out until it runs again; `tesnap runs` has its runs still\n"
    assert ran("metrics", "--metrics-organizations").stdout == told.stdout
    assert ran("runs").stdout == runs
    assert nights.night("--name", "old").code == 0
    assert 'name="old"' in ran("metrics").stdout


def test_the_last_success_outlives_its_run(nights: Nights) -> None:
    """A job that ran last before all that the store keeps has its times still, and nobody's command fails for it."""
    assert nights.night().code == 0
    before = nights.metrics
    with closing(sqlite3.connect(nights.folder / "store.db")) as store:
        for table in ("run_task", "run_organization", "run"):
            store.execute(f"DELETE FROM {table}")  # noqa: S608 - names of tables
        store.commit()
    told = ran("metrics", "--metrics-organizations", "--output", "tesnap.prom")
    assert told.code == 0, told.stderr
    after = nights.metrics
    assert after["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]
    assert after["last_run_exit_code"] == 0
    assert "created" not in after
    assert (ran("runs").stdout, ran("status").code) == ("no runs yet\n", 2)


# -- the memory of a run ---------------------------------------------------------------------------------


def test_why_a_run_ended_is_known_afterwards(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause, the exit code and who it was; and the advice follows the cause."""
    (nights.folder / "token").unlink()
    monkeypatch.setenv("T", "wrong")
    text = JOBFILE.replace("token_file: token", "token_env: T").replace("TEST", nights.tests[0])
    (nights.folder / "jobs.yaml").write_text(
        "\n".join(line for line in text.splitlines() if "ping" not in line)
    )
    assert ran("run", "jobs.yaml").code == 4
    status = ran("status")
    assert "token refused" in status.stdout
    assert "nobody running" not in status.stdout
    assert "ended " in status.stdout
    assert "with exit code 4" in status.stdout
    assert "next: replace the token, then tesnap resume" in status.stdout
    found = json.loads(ran("status", "--json").stdout)
    assert found["state"] == "stopped"
    assert [one["reason"] for one in found["waiting"]] == ["token_refused"]
    assert (found["last_start"]["exit_code"], found["last_start"]["command"]) == (4, "run")
    assert "pending (token refused)" in found["last_start"]["last_line"]
    (listed,) = json.loads(ran("runs", "--json").stdout)
    assert (listed["state"], listed["last_start"]["exit_code"]) == ("stopped", 4)
    assert [word in ran("runs").stdout for word in ("stopped", "exit", "ended", "length")] == [True] * 4
    assert json.loads(ran("runs", "--failed", "--json").stdout) == [listed]
    assert "token refused" in ran("report").stdout


def test_the_run_that_is_taken_is_said_where_none_was_named(nights: Nights) -> None:
    """Away from a terminal it is the latest of the store; standard output has the answer alone."""
    for run_id in ("n1", "n2"):
        assert nights.night("--run-id", run_id).code == 0
    for words in (["status"], ["status", "--json"], ["report", "--format", "csv"], ["settle"]):
        unnamed, named = ran(*words), ran(*words[:1], "n2", *words[1:])
        assert unnamed.stderr == f"tesnap: run n2 of nightly\n{named.stderr}", words
        assert unnamed.stdout == named.stdout
    assert "run n2" not in ran("status", "last").stderr


@pytest.mark.process
def test_a_process_that_was_killed_is_said_to_have_been(nights: Nights) -> None:
    """Nobody can tell its cause, and nothing pretends to."""
    (nights.folder / "jobs.yaml").write_text(
        JOBFILE.replace("STYLE", "plain")
        .replace("TEST", nights.tests[0])
        .replace("2026-11-20T14:00:00Z", "2099-11-20T14:00:00Z")
        .replace("2026-11-20T16:00:00Z", "2099-11-20T16:00:00Z")
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", f"{nights.folder}/jobs.yaml", "--json"],
        cwd=ROOT,
        env=environment(nights.folder) | {"TE_BASE_URL": os.environ["TE_BASE_URL"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert "run.started" in process.stdout.readline()
            looks = (ran("status").stdout for _ in range(LOOKS))  # it registers in the moment after
            assert any("is at work since" in status for status in looks)
        finally:
            process.send_signal(signal.SIGKILL)
    assert "was killed, or its machine went down" in ran("status").stdout
    assert "exit_code" not in json.loads(ran("status", "--json").stdout)["last_start"]


def test_unfinished_runs_are_given_up_together(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning counts them, and one command cancels those that nobody works on; nobody is asked with --yes."""
    monkeypatch.setenv("T", "wrong")
    text = JOBFILE.replace("token_file: token", "token_env: T").replace("TEST", nights.tests[0])
    (nights.folder / "jobs.yaml").write_text(
        "\n".join(line for line in text.splitlines() if "ping" not in line)
    )
    assert [ran("run", "jobs.yaml").code for _ in range(2)] == [4, 4]
    third = ran("run", "jobs.yaml")
    assert third.stderr.count("earlier run") == 1
    assert "2 earlier runs of nightly are unfinished" in third.stderr
    assert "tesnap cancel --unfinished" in third.stderr
    assert ran("cancel", "--unfinished").code == 2
    assert ran("cancel", "--unfinished", "--older-than", "1d", "--yes").stderr.endswith(
        "no run is unfinished and was started so long ago\n"
    )
    assert ran("cancel", "--unfinished", "--yes").code == 0
    assert {one["state"] for one in json.loads(ran("runs", "--json").stdout)} == {"cancelled"}
    assert ran("resume").code == 2
    for look in (
        "status",
        "report",
    ):  # the last line of its process said `tesnap resume`, which is refused now
        assert "exit code 4" in ran(look).stdout
        assert "resume" not in ran(look).stdout
    assert ran("cancel").code == 2


# -- parts, and less than there was ----------------------------------------------------------------------


def write_selecting(nights: Nights, name: str) -> None:
    """A job file that selects the tests with this in their names."""
    text = JOBFILE.replace('tests: ["TEST"]', f"select: {{test_name: {name}}}").replace("STYLE", "plain")
    (nights.folder / "jobs.yaml").write_text(text)
    (nights.folder / "switch").write_text(nights.switches.url + PATHS["plain"])


def test_less_than_half_of_the_last_success_is_said_by_run_and_plan(nights: Nights) -> None:
    """A tag was taken off two of three tests: everything that is planned is made, and somebody learns of it."""
    write_selecting(nights, "'*'")
    assert ran("run", "jobs.yaml").code == 0
    words = "less than half of the snapshots that the last successful run had (acme: 1 of 3)"
    names = [one.name for one in nights.simulator.world.organizations[0].account_groups[0].tests]
    write_selecting(nights, json.dumps(names[0]))
    assert words in ran("plan", "jobs.yaml").stdout
    part = ran("run", "jobs.yaml", "--job", "a", "--again")
    assert (part.code, "less than half" in part.stderr) == (0, False)
    fewer = ran("run", "jobs.yaml")
    assert (fewer.code, words in fewer.stderr) == (0, True)
    assert "less than half" not in ran("run", "jobs.yaml").stderr


def test_a_part_of_jobs_and_tests_is_no_success_of_the_job(nights: Nights) -> None:
    """By globs of the jobs' names, by ids and names of tests; what matches nothing is said, and nothing is sent."""
    write_selecting(nights, "'*'")
    for words, made in ((("--test", nights.tests[1]), 1), (("--job", "a*"), 3)):
        part = ran("run", "jobs.yaml", "--again", "--metrics", "tesnap.prom", *words)
        assert json.loads(part.stdout.splitlines()[-1])["counts"]["created"] == made, part.stderr
        assert "last_success_timestamp_seconds" not in nights.metrics
    assert nights.switches.taken == []
    none = ran("run", "jobs.yaml", "--test", "nobody-calls-a-test-so")
    assert (none.code, none.stdout) == (2, "")
    assert "no test of the jobs is like 'nobody-calls-a-test-so', so nothing was sent" in none.stderr
    assert ran("run", "jobs.yaml", "--job", "b").code == 2
    assert ran("run", "jobs.yaml").code == 0
    assert nights.switches.said == ["alive"]


# -- which run is meant ----------------------------------------------------------------------------------


def test_a_title_is_the_name_of_an_incident(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report has the snapshots of all its runs, each once; where nobody sits at a terminal no word means the latest run."""
    monkeypatch.setenv("TE_TOKEN", "token-1")
    words = ("--last", "1h", "--title", "INC-4711", "--json")
    runs = [
        json.loads(ran("snap", *tests, *words).stdout.splitlines()[0])["run_id"]
        for tests in (nights.tests[:1], nights.tests[:2])
    ]
    assert nights.night().code == 0
    both = ran("report", "inc-4711", "--format", "csv")
    assert [test in both.stdout for test in nights.tests] == [True, True, False]
    assert both.stdout.count(nights.tests[0]) == ran("report", runs[1], "--format", "csv").stdout.count(
        nights.tests[0]
    )
    status = ran("status", "INC-4711")
    assert (status.code, status.stderr) == (0, f"tesnap: INC-4711 has 2 runs; {runs[1]} is the latest\n")
    assert [one["run_id"] for one in json.loads(ran("runs", "--title", "4711", "--json").stdout)] == runs[
        ::-1
    ]
    assert len(json.loads(ran("runs", "--organization", "ac*", "--json").stdout)) == 1
    assert json.loads(ran("status", "--json").stdout)["job"] == "nightly"
    assert ran("report", "inc-4712").code == 2


@pytest.mark.process
def test_a_person_means_what_they_have_started(nights: Nights) -> None:
    """At a terminal cron's run is never taken unasked; who has started none has to name one."""
    environ = {
        **environment(nights.folder),
        "TE_BASE_URL": os.environ["TE_BASE_URL"],
        "PYTHONPATH": str(ROOT),
    }
    status = [*TESNAP, "status"]
    assert nights.night("--run-id", "crons").code == 0
    with on_terminal(status, environ, cwd=nights.folder) as terminal:
        assert terminal.end() == 2
        words = " ".join(terminal.read().decode().split())  # however the lines are broken
        assert "so name one: the latest is crons of nightly" in words
    own = [*TESNAP, "snap", nights.tests[0], "--last", "1h", "--title", "INC-1"]
    with on_terminal(own, environ, cwd=nights.folder) as terminal:
        assert terminal.end() == 0
    assert nights.night("--run-id", "crons-2").code == 0
    with on_terminal(status, environ, cwd=nights.folder) as terminal:
        assert terminal.end() == 0
        assert b"tesnap: run " in terminal.read()
        assert b"of INC-1\r\n" in terminal.read()
