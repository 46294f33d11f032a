"""The command line: options in, exit code out. What a command does is imported when it runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from orchestrator import __version__

COMMANDS = {
    "run": "run:run_command",
    "plan": "run:plan_command",
    "validate": "jobfiles:validate_command",
    "tests": "snap:tests_command",
    "snap": "snap:snap_command",
    "rehearse": "run:rehearse_command",
    "resume": "resume:resume_command",
    "status": "status:status_command",
    "runs": "status:runs_command",
    "cancel": "resume:cancel_command",
    "settle": "resume:settle_command",
    "report": "report:report_command",
    "list": "report:list_command",
    "doctor": "doctor:doctor_command",
    "init": "jobfiles:init_command",
    "schema": "jobfiles:schema_command",
    "completion": "jobfiles:completion_command",
}
"""Every command with the module and name of its code, in the order in which `--help` shows them."""

SUMMARIES = {
    "run": "Plan, queue and make the snapshots of job files; safe to repeat.",
    "plan": "Show what a run would make, and when; makes nothing.",
    "validate": "Check job files, offline: all errors at once.",
    "tests": "Show which tests selectors mean.",
    "snap": "Make snapshots in an incident, without a job file.",
    "rehearse": "The whole run against a built-in simulator, faster than life.",
    "resume": "Carry on with a run as it was planned.",
    "status": "Where a run is, and what it waits for.",
    "runs": "List the runs in the store.",
    "cancel": "Give up what a run has not sent yet.",
    "settle": "Settle snapshots whose answer was lost.",
    "report": "The links of a run as a table, Markdown, one HTML page or CSV.",
    "list": "List the snapshots of all runs that still exist.",
    "doctor": "Look for what would go wrong, before it does.",
    "init": "Write a commented job file to start from.",
    "schema": "Print the job file's JSON Schema.",
    "completion": "Print shell completion for bash, zsh or fish.",
}


class Commands(click.Group):
    """The group of all commands, each imported only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module and take it out."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(f"orchestrator.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a misspelt one, say which is meant."""
        from orchestrator.core import nearest_word

        if args[0] not in COMMANDS and (meant := nearest_word(args[0], COMMANDS)):
            ctx.fail(f"No such command {args[0]!r}: did you mean {meant!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tesnap")
def tesnap() -> None:
    """Make ThousandEyes test snapshots in bulk, at the pace the API allows.

    Never over the limit, nothing lost, nothing made twice without saying so.
    Start with `tesnap init`, then `tesnap plan` and `tesnap run`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    from orchestrator.cli.process import open_streams, run_to_exit_code

    open_streams()
    sys.exit(run_to_exit_code(tesnap, arguments))
