"""Which part of a job file a run concerns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.errors import UsageError
from orchestrator.model import JobFile, Run

__all__ = ["account_groups", "for_run", "only_organizations", "wanted_organizations"]


def wanted_organizations(jobfile: JobFile) -> list[str]:
    """The organizations that the file's jobs name, in the file's order."""
    used = {name for job in jobfile.jobs for name in job.organizations}
    return [name for name in jobfile.organizations if name in used]


def only_organizations(jobfile: JobFile, patterns: Sequence[str]) -> JobFile:
    """The part of a job file that concerns the organizations matching these globs; UsageError if none does."""
    if not patterns:
        return jobfile
    kept = {n: o for n, o in jobfile.organizations.items() if any(fnmatchcase(n, p) for p in patterns)}
    if not kept:
        known = ", ".join(jobfile.organizations)
        raise UsageError(f"no organization matches {', '.join(patterns)}; the job file has {known}")
    jobs = (
        replace(job, organizations=tuple(n for n in job.organizations if n in kept)) for job in jobfile.jobs
    )
    return replace(jobfile, organizations=kept, jobs=tuple(job for job in jobs if job.organizations))


def account_groups(jobfile: JobFile) -> dict[str, list[str]]:
    """The account groups whose tests each organization's jobs mean."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for job in jobfile.jobs:
        for name in job.organizations:
            groups[name][job.account_group or jobfile.organizations[name].account_group or ""] = None
    return {name: list(found) for name, found in groups.items()}


def for_run(jobfile: JobFile, run: Run) -> JobFile:
    """The job file as the settings of a run that was planned before: only organizations and pacing count."""
    return replace(jobfile, name=run.job)
