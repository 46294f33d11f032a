"""The variables `TESNAP_…` in the environment: one that no option has is most likely misspelt."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

import click

from orchestrator.cli.options import STORE_FILE
from orchestrator.core import nearest_word

PREFIX = "TESNAP_"

OTHERS = frozenset({"TESNAP_DEBUG", STORE_FILE})
"""Variables that no option has."""

_SERVICE = re.compile(r"TESNAP_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\w+)?)")
"""Kubernetes makes these for each Service (https://kubernetes.io/docs/concepts/services-networking/service/), one called
`tesnap` or `tesnap-…` included; no option is ever called so."""


def variables_of(command: click.Command) -> frozenset[str]:
    """The variables of a command's options."""
    return frozenset(str(param.envvar) for param in command.params if param.envvar)


def options_without_variable(command: click.Command) -> frozenset[str]:
    """The long options of a command that are to be typed each time."""
    return frozenset(
        name for param in command.params if not param.envvar for name in param.opts if name[:2] == "--"
    )


def unknown_variables(
    environ: Mapping[str, str], known: frozenset[str], typed: frozenset[str] = frozenset()
) -> list[str]:
    """A sentence about each variable with our prefix that is none of these: with the option that is to be `typed`, or the nearest one."""
    unknown = [
        name
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known | OTHERS and not _SERVICE.fullmatch(name)
    ]
    return [
        f"warning: {name} is not a variable of tesnap and has no effect{_hint(name, known, typed)}"
        for name in unknown
    ]


def warn_of_unknown_variables(
    group: click.Group, command: click.Command, words: Sequence[str], ctx: click.Context
) -> None:
    """Say on standard error which variables mean nothing, unless the command is to be quiet."""
    if not unknown_variables(os.environ, variables_of(command)):  # then no other command need be imported
        return
    commands = [one for name in group.list_commands(ctx) if (one := group.get_command(ctx, name))]
    known = frozenset().union(*map(variables_of, commands))
    lines = unknown_variables(os.environ, known, frozenset().union(*map(options_without_variable, commands)))
    if lines and not _is_quiet(command, words, ctx):
        print(*lines, sep="\n", file=sys.stderr)


def _is_quiet(command: click.Command, words: Sequence[str], ctx: click.Context) -> bool:
    if not any(param.name == "quiet" for param in command.params):
        return False
    with command.make_context(command.name, list(words), parent=ctx, resilient_parsing=True) as quiet:
        return bool(quiet.params.get("quiet"))


def _hint(name: str, known: frozenset[str], typed: frozenset[str]) -> str:
    option = f"--{name.removeprefix(PREFIX).lower().replace('_', '-')}"
    if option in typed:
        return f": write {option} on the command line"
    meant = nearest_word(name.removeprefix(PREFIX), sorted(one.removeprefix(PREFIX) for one in known))
    return f": did you mean {PREFIX}{meant}?" if meant else ""
