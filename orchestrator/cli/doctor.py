"""The command that looks for what would go wrong: doctor."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import click

from orchestrator.app import examine_one, organizations_to_check
from orchestrator.cli.options import json_option, organization_option, store_option
from orchestrator.cli.process import open_queue, telling, write_json

AT_ONCE = 8
"""Organizations that are asked side by side."""


@click.command("doctor")
@click.argument("jobfile", required=False)
@organization_option
@store_option
@json_option
def doctor_command(
    jobfile: str | None, *, organizations: tuple[str, ...], store_url: str | None, as_json: bool
) -> int:
    """Look for what would go wrong: token, permission, organization, tests, clock, store, who is told. Makes nothing.

    Exit code 4 for a refused token, 3 for other trouble, 0 when all is fine.
    """
    from orchestrator.app import check_lines, checks_document, examine_notify, examine_store, worst_code
    from orchestrator.core import SystemClock

    clock, tell = SystemClock(), telling()
    known, patients = organizations_to_check(jobfile, organizations)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        examined = pool.map(lambda patient: examine_one(patient, known, clock, tell), patients)
        checks = dict(zip((one.organization.name for one in patients), examined, strict=True))
    if known.notify:
        checks["notify"] = [examine_notify(one) for one in known.notify]
    checks["store"] = examine_store(lambda: open_queue(store_url, clock))
    if as_json:
        write_json(checks_document(checks))
    else:
        _print(check_lines(checks))
    return worst_code(check for found in checks.values() for check in found)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
