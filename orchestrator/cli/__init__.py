"""The command line: options in, exit code out. What a command does is imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = {
    "run": ("run", "Plan, queue and make the snapshots of job files; safe to repeat."),
    "plan": ("run", "Show what a run would make, and when; makes nothing."),
    "validate": ("jobfiles", "Check job files, offline: all errors at once."),
    "tests": ("snap", "Show which tests selectors match."),
    "snap": ("snap", "Make snapshots in an incident, without a job file."),
    "rehearse": ("run", "The whole run against a built-in simulator, faster than real time."),
    "resume": ("resume", "Carry on with a run as it was planned."),
    "status": ("status", "Where a run is, and what it waits for."),
    "runs": ("status", "List the runs in the store."),
    "metrics": ("status", "Prometheus metrics of every job in the store."),
    "cancel": ("resume", "Give up what a run has not sent yet."),
    "settle": ("resume", "Settle snapshots whose answer was lost."),
    "report": ("report", "The links of a run as a table, Markdown, one HTML page or CSV."),
    "list": ("report", "List the snapshots of all runs that still exist."),
    "doctor": ("doctor", "Look for what would go wrong, before it does."),
    "config": ("settings", "Show every setting with its value and where it comes from."),
    "init": ("jobfiles", "Write a commented job file to start from."),
    "schema": ("jobfiles", "Print the job file's JSON Schema."),
    "completion": ("jobfiles", "Print shell completion for bash, zsh or fish."),
}
"""Every command with the module of its code and its line in `--help`, in the order in which that shows them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    from orchestrator.cli.process import Signals, open_streams, run_to_exit_code

    open_streams()
    Signals.hear()
    words = sys.argv[1:] if arguments is None else arguments
    code = run_to_exit_code(_print_version if [*words] == ["--version"] else _run_words, words)
    Signals.ignore()  # how it ended stands, and Python's own exit would let them kill it
    sys.exit(code)


def _print_version(_: Sequence[str]) -> None:
    """Say it as click does; importing click takes longer than all the rest."""
    from orchestrator import __version__

    print(f"tesnap, version {__version__}")


def _run_words(words: Sequence[str]) -> object:
    from orchestrator.cli.commands import run_words

    return run_words(words)
