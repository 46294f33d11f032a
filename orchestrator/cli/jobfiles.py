"""Commands about job files and the command line itself: validate, init, schema, completion."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from orchestrator.cli.options import json_option
from orchestrator.cli.process import document_lines, print_lines, standard_input
from orchestrator.core import ExitCode, JobFileError, Located, UsageError

STARTER_NAME = "jobs.yaml"


@click.command("validate")
@click.argument("jobfiles", nargs=-1, required=True, metavar="JOBFILE...")
@json_option
def validate_command(jobfiles: tuple[str, ...], *, as_json: bool) -> int:
    """Check job files and folders of them, offline: all errors at once, as file:line:column."""
    from orchestrator.core import plural
    from orchestrator.jobfile import read_jobfiles

    try:
        reading = read_jobfiles(jobfiles, environ=os.environ, stdin=standard_input(jobfiles))
    except JobFileError as error:
        _print(error.errors, as_json=as_json)
        return ExitCode.WRONG_USAGE
    _print(reading.warnings, as_json=as_json)
    if not as_json:
        jobs = plural(len(reading.jobfile.jobs), "job")
        organizations = plural(len(reading.jobfile.organizations), "organization")
        print(f"{reading.jobfile.name}: ok, {jobs} for {organizations}")
    return ExitCode.DONE


def _print(found: tuple[Located, ...], *, as_json: bool) -> None:
    """The findings: results of this command, so on standard output when they are JSON, else where errors go."""
    if as_json:
        keys = ("file", "line", "column", "level", "text")
        print_lines(document_lines([{key: getattr(one, key) for key in keys} for one in found]))
    else:
        print_lines(found, file=sys.stderr)


@click.command("init")
@click.argument(
    "path", default=STARTER_NAME, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def init_command(path: Path, *, force: bool) -> None:
    """Write a commented job file to start from (default: jobs.yaml; `-` prints it)."""
    from orchestrator.jobfile import starter

    if str(path) == "-":
        print(starter(), end="")
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(starter())
    except FileExistsError:
        raise UsageError(f"{path} exists: choose another name, or overwrite it with --force") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    check, look = (shlex.join(("tesnap", command, str(path))) for command in ("validate", "plan"))
    print(f"wrote {path}; next: edit it, then `{check}` and `{look}`", file=sys.stderr)


@click.command("schema")
def schema_command() -> None:
    """Print the job file's JSON Schema, for editors."""
    from orchestrator.jobfile import json_schema

    print_lines(document_lines(json_schema()))


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print shell completion; e.g. `tesnap completion bash > ~/.local/share/bash-completion/completions/tesnap`."""
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    kind = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    asked = kind(ctx.find_root().command, {}, "tesnap", "_TESNAP_COMPLETE")
    print(
        ShellComplete.source(asked)
    )  # bash's own starts a bash to ask its version, with all of the environment
