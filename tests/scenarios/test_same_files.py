"""Which earlier runs are of the same job files: the files' names alone do not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.app import history
from orchestrator.app.organizations import Organizations
from orchestrator.core.jobs import JobFile
from orchestrator.core.tasks import Run
from orchestrator.jobfile.reader import read_jobfiles
from tests.support.virtual import Stage

StageMaker = Callable[..., Stage]


@contextmanager
def organizations_for(at: Stage, jobfile: JobFile) -> Iterator[Organizations]:
    """The program as it is started for this job file."""
    organizations = Organizations(jobfile, store=at.open(), clock=at.clock, environ={}, offline=True)
    try:
        yield organizations
    finally:
        organizations.close()


def interrupted(at: Stage, jobfile: JobFile) -> Run:
    """A run of the job file that a killed process has left behind."""
    worker, _ = at.worker(jobfile)
    run = replace(worker.run, id="r9", files=("/fa/jobs.yaml",))
    store = at.open()
    return store.runs.start(run, [result.task for result in store.views.results("r1")])


def told(organizations: Organizations) -> str:
    """What the user hears of unfinished runs."""
    events = history.describe_unfinished(organizations.store.history, organizations.jobfile)
    return "\n".join(event.text for event in events)


def test_an_unfinished_run_of_another_file_of_the_same_name_is_not_ones_own(stage: StageMaker) -> None:
    """Two folders have a jobs.yaml without a `name`: neither hears of the other's run."""
    at = stage(tests=2)
    jobfile = at.jobfile(2)
    interrupted(at, jobfile)
    for file, named, expected in (
        ("/fa/jobs.yaml", False, True),
        ("/fb/jobs.yaml", False, False),
        ("/fb/jobs.yaml", True, True),  # whoever writes the name says that it is the same job
    ):
        with organizations_for(at, replace(jobfile, files=(file,), named=named)) as organizations:
            assert ("tesnap resume r9" in told(organizations)) is expected


def test_who_carries_on_a_run_of_other_files_is_told_so(stage: StageMaker) -> None:
    """A run id is believed, since a replaced machine may have other paths; but nothing of these files is made."""
    at = stage(tests=2)
    jobfile = at.jobfile(2)
    interrupted(at, jobfile)
    for file, expected in (("/fa/jobs.yaml", 0), ("/fb/my jobs.yaml", 1)):
        with organizations_for(at, replace(jobfile, files=(file,))) as organizations:
            run = history.find_run(organizations.store.views, organizations.jobfile, "r9")
            assert run is not None
            warnings = [
                event.text
                for event in history.describe_resumption(run, organizations.jobfile)
                if event.level == "warning"
            ]
            assert len(warnings) == expected
            assert all("/fa/jobs.yaml, not from '/fb/my jobs.yaml'" in text for text in warnings)


def test_a_file_says_whether_it_names_its_job(tmp_path: Path) -> None:
    """Without `name` the run is called as the file is."""
    path = tmp_path / "jobs.yaml"
    text = "version: 1\norganizations: {a: {token_env: T}}\njobs: [{name: j, tests: [1], windows: [{last: 1h}]}]\n"
    for head, named in (("", False), ("name: edge\n", True)):
        path.write_text(head + text, encoding="utf-8")
        jobfile = read_jobfiles([path], environ={}).jobfile
        assert (jobfile.named, jobfile.files) == (named, (str(path),))
