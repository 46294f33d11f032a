"""The group of all commands: each is imported when it is called, or asked what it has."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from orchestrator import __version__
from orchestrator.cli import COMMANDS
from orchestrator.cli.examples import examples_text


class Commands(click.Group):
    """The group of all commands, each imported only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module and take it out, with its examples."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        command.epilog = examples_text(cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command: `help` means `--help`; for a command's own option, say where it belongs."""
        if args[:1] == ["help"]:
            args = [*args[1:2], "--help"]
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = next((word for word in typed if word in COMMANDS), "")
            if not name or typed[0] == name:
                raise
            raise click.UsageError(self._misplaced(ctx, name, error.option_name), ctx) from None

    def _misplaced(self, ctx: click.Context, name: str, option: str) -> str:
        """The sentence about an option that stands before its command."""
        command = self.get_command(ctx, name)
        if command is not None and any(option in (*one.opts, *one.secondary_opts) for one in command.params):
            return f"{option} is before the command: write it after the command, as in `tesnap {name} {option} ...`"
        return f"{option} is before the command, and `tesnap {name}` has no such option: see `tesnap {name} --help`"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a misspelt one, say which is meant."""
        from orchestrator.core import nearest_word

        if args[0] not in COMMANDS and (meant := nearest_word(args[0], COMMANDS)):
            ctx.fail(f"No such command {args[0]!r}: did you mean {meant!r}?")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            from orchestrator.cli.variables import warn_of_unknown_variables

            warn_of_unknown_variables(self, command, rest, ctx)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tesnap")
def tesnap() -> None:
    """Make ThousandEyes test snapshots in bulk, at the pace the API allows.

    Never over the limit, nothing lost, nothing made twice without saying so.
    Start with `tesnap init`, then `tesnap plan` and `tesnap run`.
    """


def run_words(words: Sequence[str]) -> object:
    """Carry out a command line; returns its exit code, if the command has one."""
    return tesnap.main(args=[*words], standalone_mode=False)
