"""Keep the tables of docs/jobfile.md and docs/commands.md current: they come from the grammar and the commands.

`reference.py` writes what stands between the markers of these pages; `reference.py --check` fails when a
page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from orchestrator.cli import COMMANDS
from orchestrator.cli.commands import tesnap
from orchestrator.cli.options import output_options, pacing_options
from orchestrator.jobfile import schema as grammar
from orchestrator.jobfile.kinds import Entry, Issue, Kind

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- (?P<name>[\w-]+): begin -->\n).*?(<!-- (?P=name): end -->)", re.DOTALL)
TOLD_DEFAULT = re.compile(r" \(([^()]+)\)\.$")

SECTIONS: dict[str, type[Entry]] = {
    "top": grammar.FileEntry,
    "organization": grammar.OrganizationEntry,
    "limit": grammar.LimitEntry,
    "job": grammar.JobEntry,
    "test": grammar.TestEntry,
    "select": grammar.SelectEntry,
    "window": grammar.WindowEntry,
    "http": grammar.HttpEntry,
    "retry": grammar.RetryEntry,
    "notify": grammar.NotifyEntry,
    "ping": grammar.PingEntry,
}
"""The tables of docs/jobfile.md, each with the type that it shows."""

REQUIRED = {("top", "version"), ("top", "jobs"), ("job", "name"), ("job", "windows")}
"""Keys that the grammar lets out and the job file all the same has to have, in the job or in its defaults."""

WORDS = {
    ("top", "name"): "text of one line",
    ("top", "timezone"): "name of a time zone",
    ("top", "organizations"): "mapping of names to [organizations](#organization)",
    ("top", "windows"): "mapping of names to [windows](#window)",
    ("top", "defaults"): "mapping: the keys of a [job](#job)",
    ("top", "organization_defaults"): "mapping: the keys of an [organization](#organization)",
    ("top", "prune_after"): "duration, 35d or more",
    ("job", "windows"): "list of names and [windows](#window)",
    ("job", "tests"): "list of ids and [tests](#test)",
    ("organization", "token_file"): "path",
    ("organization", "token_env"): "name of a variable",
    ("organization", "base_url"): "URL",
    ("http", "proxy"): "URL",
    ("http", "ca_bundle"): "path",
    ("notify", "url_file"): "path",
    ("ping", "url_file"): "path",
    ("window", "start"): "moment",
    ("window", "end"): "moment",
    ("window", "around"): "moment",
    ("window", "until"): "time of day",
    ("window", "duration"): "duration, full seconds",
    ("window", "last"): "duration, full seconds",
}
"""What a key holds, where its JSON Schema says no more than that it is text or a mapping."""

EXAMPLES = {
    "top": {
        "version": "1",
        "name": "nightly-edge",
        "timezone": "Europe/Berlin",
        "organizations": '{acme: {token_env: TE_TOKEN_ACME, account_group: "1234"}}',
        "organization_defaults": '{token_file: "/run/secrets/{organization}/token"}',
        "defaults": "{windows: [outage], priority: batch}",
        "windows": "{outage: {start: 2026-11-20T14:00:00Z, duration: 2h}}",
        "jobs": '[{name: edge, tests: ["202701"], windows: [outage]}]',
        "http": "{timeout: 30s}",
        "retry": "{attempts: 3, within: 30m}",
        "notify": "[{format: slack, url_file: /run/secrets/slack, on: failure}]",
        "prune_after": "400d",
        "ping": "{url_file: /run/secrets/ping, style: cronitor}",
    },
    "organization": {
        "token_file": "/run/secrets/te/token",
        "token_env": "TE_TOKEN_ACME",
        "account_group": '"1234"',
        "org_id": '"98765"',
        "base_url": "https://gateway.example/thousandeyes/v7",
        "limit": "{use: 3}",
        "ping": "{url_file: /run/secrets/ping-acme}",
    },
    "limit": {
        "snapshots": "5",
        "per": "5m",
        "guard": "2s",
        "grace": "45s",
        "use": "3",
        "pace": "even",
    },
    "job": {
        "name": "checkout",
        "organization": '["acme", "globex-*"]',
        "account_group": '"5678"',
        "tests": '["202701", {id: "202702", test_name: Checkout EU}]',
        "select": '{tag: "team:payments"}',
        "exclude": '["202703", "*staging*"]',
        "max_tests": "20",
        "min_tests": "5",
        "windows": "[outage, {last: 1h}]",
        "priority": "incident",
        "display_name": '"{test} {start} [{key}]"',
        "is_public": "true",
        "expect_saved_event": "false",
        "on_uncertain": "resend",
        "data_delay": "5m",
    },
    "test": {"id": '"202702"', "test_name": "Checkout EU"},
    "select": {
        "test_name": '["checkout", "EU *"]',
        "type": "[http-server, page-load]",
        "tag": '"team:payments"',
        "alerting": "true",
        "enabled": "true",
    },
    "window": {
        "start": "2026-11-20T14:00:00Z",
        "end": "2026-11-20 17:00",
        "duration": "2h",
        "last": "24h",
        "until": '"00:00"',
        "around": "2026-11-20T09:00:00+01:00",
        "fit": "split",
    },
    "http": {
        "timeout": "30s",
        "proxy": "http://proxy.example:3128",
        "ca_bundle": "/etc/ssl/company.pem",
    },
    "retry": {"attempts": "3", "within": "30m"},
    "notify": {"format": "slack", "url_file": "/run/secrets/slack", "on": "failure"},
    "ping": {"url_file": "/run/secrets/ping", "style": "kuma", "start": "false"},
}
"""For each key one value that the grammar takes; tests/docs/test_reference.py reads all of them."""

# ----------------------------------------------------------------------------------------- job file


def key_table(section: str) -> str:
    """The keys of one mapping of a job file."""
    rows = [
        f"| `{name}` | {held(section, name)} | {default(section, name)} | {meaning(section, name)} | `{EXAMPLES[section][name]}` |"
        for name in SECTIONS[section].keys
    ]
    return "\n".join(["| key | holds | default | meaning | example |", "|---|---|---|---|---|", *rows]) + "\n"


def held(section: str, name: str) -> str:
    """What a value has to be."""
    if (section, name) in WORDS:
        return WORDS[section, name]
    model = SECTIONS[section]
    defined: dict[str, Any] = {}
    written = model.schema(defined)["properties"][name]
    if "(ms|" in str(written):
        zero = takes(model.keys[name].kind, "0s")
        return "duration, may be `0s`" if zero else "duration, over zero"
    return described(written, defined)


def takes(kind: Kind, value: object) -> bool:
    """Whether the grammar reads this value."""
    issues: list[Issue] = []
    kind.read(value, (), issues)
    return not issues


def described(schema: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """A JSON Schema in words; what stands for a variable that is filled in is left out."""
    if "$ref" in schema:
        return named(schema["$ref"].rpartition("/")[2], models)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {described(schema['items'], models)}"
    return one_of(schema["anyOf"], models) if "anyOf" in schema else plain(schema)


def one_of(schemas: Sequence[Mapping[str, Any]], models: Mapping[str, Any]) -> str:
    """A choice of JSON Schemas in words."""
    options = [one for one in schemas if one != {"type": "null"} and not filled_in(one)]
    if any(one.get("pattern") == "^[0-9]{1,20}$" for one in options):
        return "digits"
    if len(options) == 2 and options[1].get("type") == "array" and options[1]["items"] == options[0]:
        return f"{described(options[0], models)}; one, or a list"
    return " or ".join(dict.fromkeys(described(one, models) for one in options))


def named(name: str, models: Mapping[str, Any]) -> str:
    """A type of its own: the words of a choice, or the table that shows its keys."""
    if "enum" in models[name]:
        return described(models[name], models)
    section = next(section for section, model in SECTIONS.items() if model.__name__ == name)
    return f"[{section}](#{section})"


def filled_in(schema: Mapping[str, Any]) -> bool:
    """Whether this stands for `${VAR}`."""
    return str(schema.get("pattern", "")).startswith("\\$")


def plain(schema: Mapping[str, Any]) -> str:
    """A simple value in words."""
    if schema.get("type") == "integer":
        return f"number, {schema['minimum']:,} to {schema['maximum']:,}"
    return {"boolean": "`true` or `false`"}.get(str(schema.get("type")), "text")


def default(section: str, name: str) -> str:
    """What holds when the key is left out."""
    key = SECTIONS[section].keys[name]
    if key.required or (section, name) in REQUIRED:
        return "**required**"
    told = TOLD_DEFAULT.search(key.about)
    if told is None:
        return "`" + grammar_default(name) + "`" if name == "display_name" else ""
    words = told[1]
    return words if " " in words or words == "all" else f"`{words}`"


def grammar_default(name: str) -> str:
    """A default that is too long for the grammar's own description."""
    from orchestrator.core.jobs import Job

    return str(Job.__dataclass_fields__[name].default)


def meaning(section: str, name: str) -> str:
    """The grammar's own description, without the default that it ends with."""
    text = SECTIONS[section].keys[name].about
    return TOLD_DEFAULT.sub(".", text).replace("|", "\\|")


# ----------------------------------------------------------------------------------------- commands


def shared(decorate: Callable[[Any], Any]) -> list[click.Option]:
    """The options of one group, as a command has them."""
    made = click.command()(decorate(lambda: None))
    return [one for one in made.params if isinstance(one, click.Option)]


GROUPS: dict[str, list[click.Option]] = {
    "output": shared(output_options),
    "pace": shared(pacing_options),
}
"""Options that several commands have together, shown once."""


def command_sections() -> str:
    """Every command with its help and its own options."""
    return "\n".join(command_section(name) for name in COMMANDS)


def command_section(name: str) -> str:
    """One command."""
    command = tesnap.get_command(click.Context(tesnap), name) or tesnap
    usage = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name)))
    parts = [f"### {name}\n", f"tesnap `{name} {usage}`\n", sentences(command.help or ""), ""]
    options = [one for one in command.params if isinstance(one, click.Option)]
    groups = [group for group, members in GROUPS.items() if has_all(options, members)]
    there = {one.name for group in groups for one in GROUPS[group]}
    mine = [one for one in options if one.name not in there]
    if mine:
        parts.append(option_table(mine))
    if groups:
        links = " and the ".join(f"[{group} options](#{group}-options)" for group in groups)
        parts.append(f"{'And' if mine else 'It has'} the {links}.\n")
    return "\n".join(parts)


def has_all(options: list[click.Option], members: list[click.Option]) -> bool:
    """Whether a command has this whole group."""
    return {one.name for one in members} <= {one.name for one in options}


def sentences(text: str) -> str:
    """A command's help without its line breaks, paragraphs kept."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def option_table(options: list[click.Option]) -> str:
    """Options with their variables."""
    rows = [f"| {spelling(one)} | {variable(one)} | {told(one)} |" for one in options]
    return "\n".join(["| option | variable | meaning |", "|---|---|---|", *rows]) + "\n"


def spelling(one: click.Option) -> str:
    """The option as it is typed."""
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    if one.is_flag:
        return names
    if isinstance(one.type, click.Choice):
        return f"{names} " + ", ".join(f"`{choice}`" for choice in one.type.choices)
    return f"{names} {(one.metavar or 'NUMBER').replace('|', ' or ')}"


def variable(one: click.Option) -> str:
    """The environment variable of an option."""
    return f"`{one.envvar}`" if one.envvar else ""


def told(one: click.Option) -> str:
    """The option's help, and its range."""
    text = (one.help or "").replace("|", "\\|")
    low, high = getattr(one.type, "min", None), getattr(one.type, "max", None)
    if low is None:
        return text
    return f"{text} {low:g} or more." if high is None else f"{text} {low:g} to {high:g}."


def printed_help() -> str:
    """What `tesnap --help` prints, at 80 columns."""
    environment = {"COLUMNS": "80", "NO_COLOR": "1"}
    result = CliRunner().invoke(tesnap, ["--help"], prog_name="tesnap", terminal_width=80, env=environment)
    return f"```console\n$ tesnap --help\n{result.output.rstrip()}\n```\n"


PARTS: dict[str, Callable[[], str]] = {
    **{section: partial(key_table, section) for section in SECTIONS},
    **{f"{group}-options": partial(option_table, members) for group, members in GROUPS.items()},
    "help": printed_help,
    "commands": command_sections,
}
"""What the markers of a page stand for."""

PAGES = ("docs/jobfile.md", "docs/commands.md")


def current(page: str) -> str:
    """The page with everything between its markers as it is now; KeyError for a marker that means nothing."""
    return MARKED.sub(lambda match: f"{match[1]}{PARTS[match['name']]()}{match[3]}", page)


def stale() -> Iterator[tuple[Path, str]]:
    """The pages that are out of date, with what they should say."""
    for name in PAGES:
        page = ROOT / name
        wanted = current(page.read_text(encoding="utf-8"))
        if wanted != page.read_text(encoding="utf-8"):
            yield page, wanted


def main() -> int:
    """Write or check; the exit code."""
    found = list(stale())
    if "--check" in sys.argv[1:]:
        for page, _ in found:
            print(f"{page.relative_to(ROOT)} is out of date; run `make reference`", file=sys.stderr)
        return 1 if found else 0
    for page, wanted in found:
        page.write_text(wanted, encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
