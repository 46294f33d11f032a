"""The command that looks for what would go wrong: doctor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import OutputOptions, json_option, organization_option, store_option
from orchestrator.cli.process import (
    document_lines,
    pause_printer,
    print_lines,
    print_text,
    standard_input,
    use_store,
)

if TYPE_CHECKING:
    from orchestrator.core import JobFile

AT_ONCE = 8
"""Organizations that are examined at once."""


@click.command("doctor")
@click.argument("jobfile", required=False)
@organization_option
@store_option
@json_option
@click.option("--strict", is_flag=True, help="Exit code 3 also for what cannot be looked up.")
def doctor_command(
    jobfile: str | None,
    *,
    organizations: tuple[str, ...],
    store_url: str | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Look for what would go wrong: token, permission, organization, tests, clock, store, webhooks. Makes nothing.

    Exit code 4 for a refused token, 3 for other problems, else 0.
    """
    from orchestrator import app
    from orchestrator.core import SystemClock

    clock, tell = SystemClock(), pause_printer(OutputOptions().zone)
    known = _read_organizations(jobfile, organizations)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        examined = pool.map(
            lambda name: app.examine_organization(name, known, clock, os.environ, tell), known.organizations
        )
        checks = dict(zip(known.organizations, examined, strict=True))
    if known.notify:
        checks["notify"] = [app.examine_notify(one) for one in known.notify]
    checks["store"] = app.examine_store(lambda: use_store(store_url, clock))
    if as_json:
        print_lines(document_lines(app.checks_document(checks)))
    else:
        print_text(app.check_lines(checks))
    return app.worst_code((check for found in checks.values() for check in found), strict=strict)


def _read_organizations(path: str | None, patterns: Sequence[str]) -> JobFile:
    """The organizations of a job file that match, with their jobs; without a file the environment's only one."""
    from orchestrator.jobfile import find_organizations, read_jobfiles

    if path is None:
        naming = "after the command: `tesnap doctor JOBFILE`"
        return find_organizations(None, patterns, environ=os.environ, naming=naming)
    reading = read_jobfiles([path], environ=os.environ, stdin=standard_input([path]))
    return reading.jobfile.only_organizations(patterns)
