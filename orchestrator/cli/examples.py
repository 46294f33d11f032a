"""Two or three lines for each command that somebody may type, at the end of its `--help`."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "jobs.yaml",
        "jobs.yaml --organization 'acme*' --job checkout",
        "/etc/tesnap/jobs.yaml --quiet --deadline 6h --metrics /var/lib/node_exporter/nightly.prom",
    ),
    "plan": ("jobs.yaml", "jobs.yaml --offline"),
    "validate": ("jobs.yaml", "jobs/ --json"),
    "tests": ("--alerting --last 2h", "--tag 'team:*' --format yaml"),
    "snap": ("--alerting --last 2h", "202701 202702 --since 14:07 --title INC-4711"),
    "rehearse": ("jobs.yaml", "jobs.yaml --faults --speed 300"),
    "resume": ("", "k7f2 --failed", "last --jobfile jobs.yaml"),
    "status": ("", "last --json", "INC-4711"),
    "runs": ("--failed", "--title INC-4711"),
    "metrics": ("", "--output /var/lib/node_exporter/tesnap.prom"),
    "cancel": ("k7f2", "--unfinished --older-than 7d"),
    "settle": ("", "k7f2 9b1f0c created wdiac", "k7f2 9b1f0c not-created"),
    "report": ("--format md", "INC-4711 --output INC-4711.html", "last --organization acme"),
    "list": ("--expiring-within 7d", "--organization 'acme*' --made-since 3h"),
    "doctor": ("", "jobs.yaml --json"),
    "prune": ("", "--older-than 100d --archive old.jsonl --yes"),
    "backup": ("/backups/2026-11-20.db", "- >tesnap.db"),
    "restore": ("/backups/2026-11-20.db", "--declare '2026-11-20 03:00' --timezone Europe/Berlin"),
    "config": ("jobs.yaml", "jobs.yaml --json"),
    "init": ("", "nightly.yaml"),
    "schema": (">jobs.schema.json", "| less"),
    "completion": ("bash >~/.local/share/bash-completion/completions/tesnap", "zsh"),
}


def examples_text(name: str) -> str:
    """The examples of a command as click prints them: its lines are not to be joined."""
    return "\n".join(["\b", "Examples:", *(f"  tesnap {name} {words}".rstrip() for words in EXAMPLES[name])])
