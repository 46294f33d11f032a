"""The command that looks for what would go wrong: doctor."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import click

from orchestrator.cli.frame import opened, telling, write_json
from orchestrator.cli.options import json_option, organization_option, store_option
from orchestrator.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from orchestrator.clock import Clock
    from orchestrator.doctor import Check, Patient
    from orchestrator.model import CredentialSource, JobFile

AT_ONCE = 8
"""Organizations that are asked side by side."""


@click.command("doctor")
@click.argument("jobfile", required=False)
@organization_option
@store_option
@json_option
def doctor_command(
    jobfile: str | None, *, organizations: tuple[str, ...], store: str | None, as_json: bool
) -> int:
    """Look for what would go wrong: token, permission, organization, tests, clock, store, who is told. Makes nothing.

    Exit code 4 for a refused token, 3 for other trouble, 0 when all is fine.
    """
    from orchestrator import doctor, premises
    from orchestrator.clock import SystemClock

    clock = SystemClock()
    known, patients = _patients(jobfile, organizations)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        examined = pool.map(lambda patient: _examined(patient, known, clock), patients)
        checks = dict(zip((one.organization.name for one in patients), examined, strict=True))
    if known.notify:
        checks["notify"] = [premises.examine_notify(one) for one in known.notify]
    checks["store"] = premises.examine_store(lambda: opened(store, clock))
    if as_json:
        write_json(doctor.documents(checks))
    else:
        _print(doctor.lines(checks))
    return doctor.worst(check for found in checks.values() for check in found)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _patients(path: str | None, chosen: tuple[str, ...]) -> tuple[JobFile, list[Patient]]:
    """The organizations of a job file with their jobs, or the environment's only one."""
    from orchestrator.doctor import Patient
    from orchestrator.extent import only_organizations
    from orchestrator.incident import known_organizations
    from orchestrator.jobfile import read_jobfiles

    if path is None:
        known = known_organizations(
            None, chosen, environ=os.environ, naming="behind the command: `tesnap doctor JOBFILE`"
        )
    else:
        reading = read_jobfiles([path], environ=os.environ, stdin=sys.stdin)
        known = only_organizations(reading.jobfile, chosen)
    return known, [
        Patient(
            organization=one,
            jobs=tuple(job for job in known.jobs if one.name in job.organizations),
            source=_source(one.credential),
        )
        for one in known.organizations.values()
    ]


def _source(credential: CredentialSource) -> str:
    return (
        f"the token in {credential.file}"
        if credential.file
        else f"the token in the variable {credential.env}"
    )


def _examined(patient: Patient, jobfile: JobFile, clock: Clock) -> list[Check]:
    """All checks of one organization; a token that cannot even be read is the only one."""
    from orchestrator.cli.incident import client_of
    from orchestrator.doctor import Check, Level, examine

    try:
        client = client_of(jobfile, patient.organization.name, clock)
    except CredentialError as error:
        remedy = "put a token there, or correct token_file or token_env"
        return [Check(about="token", text=str(error), remedy=remedy, level=Level.TROUBLE)]
    except UsageError as error:
        remedy = "correct that in the job file, or the variable that says it"
        return [Check(about="way to the API", text=str(error), remedy=remedy, level=Level.TROUBLE)]
    with closing(client):
        return examine(patient, client, clock, telling())
