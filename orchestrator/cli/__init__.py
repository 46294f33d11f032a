"""The command line: options in, exit code out. What a command does is imported when it runs."""

from __future__ import annotations

import gc
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
    "prune": ("prune", "Forget old runs that are over."),
    "backup": ("backup", "Copy the store, also while a run is at work."),
    "restore": ("backup", "Put a copy of the store back."),
    "config": ("settings", "Show every setting with its value and where it comes from."),
    "init": ("jobfiles", "Write a commented job file to start from."),
    "schema": ("jobfiles", "Print the job file's JSON Schema."),
    "completion": ("jobfiles", "Print shell completion for bash, zsh or fish."),
}
"""Every command with the module of its code and its line in `--help`, in the order in which that shows them."""

NEW_OBJECTS = 50_000
"""Objects after which Python's collector looks for what is to be freed. A start makes 42,000, of which nothing is.

By Python's own number, 700 (3.11) or 2,000 (3.13), the looks were a twelfth of a start."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    from orchestrator.cli.process import Signals, open_streams, run_to_exit_code

    gc.set_threshold(NEW_OBJECTS)
    open_streams()
    Signals.hear()
    words = sys.argv[1:] if arguments is None else arguments
    code = run_to_exit_code(_print_version if [*words] == ["--version"] else _run_words, words)
    Signals.ignore()  # how it ended stands, and Python's own exit would let them kill it
    gc.freeze()  # else Python looks through every object twice more, to free memory that ends with the process
    sys.exit(code)


def _print_version(_: Sequence[str]) -> None:
    """Say it as click does; importing click takes longer than all the rest."""
    from orchestrator import __version__

    print(f"tesnap, version {__version__}")


def _run_words(words: Sequence[str]) -> object:
    from orchestrator.cli.commands import run_words

    return run_words(words)
