"""Variables `TESNAP_…`: what no option has is said, and an error names what was really written."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import COMMANDS
from orchestrator.cli.commands import tesnap
from orchestrator.cli.variables import unknown_variables, variables_of
from tests.support.commands import ran

JOBFILE = """\
version: 1
name: edge
organizations: {acme: {token_env: TE_TOKEN}}
jobs: [{name: a, tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""

KNOWN = frozenset({"TESNAP_DEADLINE", "TESNAP_QUIET"})


@pytest.mark.parametrize(
    "name",
    ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"],
)
@pytest.mark.parametrize("service", ["TESNAP", "TESNAP_LISTENER"])
def test_what_kubernetes_makes_of_a_service_is_not_ours(service: str, name: str) -> None:
    """It sets these in every pod of the namespace."""
    assert unknown_variables({f"{service}_{name}": "1"}, KNOWN) == []


def test_an_unknown_variable_is_said_with_the_nearest_one() -> None:
    """Ours, foreign ones and the one without an option are not."""
    environ = {
        "TESNAP_DEADLIN": "1h",
        "TESNAP_QUIET": "1",
        "TESNAP_DEBUG": "1",
        "PATH": "/bin",
        "TESNAP_XYZ": "",
    }
    assert unknown_variables(environ, KNOWN) == [
        "warning: TESNAP_DEADLIN is not a variable of tesnap and has no effect: did you mean TESNAP_DEADLINE?",
        "warning: TESNAP_XYZ is not a variable of tesnap and has no effect",
    ]


def test_no_option_is_called_as_kubernetes_calls_a_service() -> None:
    """Its variable would be set by any Service of that name."""
    ctx = click.Context(tesnap)
    commands = [tesnap.get_command(ctx, name) for name in COMMANDS]
    names = frozenset().union(*(variables_of(one) for one in commands if one))
    assert len(unknown_variables(dict.fromkeys(names, ""), frozenset())) == len(names) > 20


@pytest.mark.parametrize(("words", "said"), [((), True), (("-q",), False)])
def test_a_misspelt_variable_is_a_note_on_standard_error(
    words: tuple[str, ...], *, said: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not with --quiet: the command does what it did before somebody set it."""
    monkeypatch.setenv("TESNAP_DEADLIN", "1h")
    ended = ran("run", f"{tmp_path}/none.yaml", *words)
    assert ("TESNAP_DEADLIN is not a variable" in ended.stderr) is said


def typed(*words: str, **environ: str) -> Result:
    """What becomes of a command line under these variables."""
    return CliRunner(env=environ).invoke(tesnap, words)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TESNAP_PER", "abc"),
        ("TESNAP_PER", "0s"),
        ("TESNAP_TIMEOUT", "0s"),
        ("TESNAP_USE", "9"),
        ("TESNAP_USE", "x"),
        ("TESNAP_PACE", "x"),
        ("TESNAP_FORMAT", "x"),
        ("TESNAP_RUN_ID", "a b"),
        ("TESNAP_DEADLINE", "x"),
    ],
)
def test_an_error_names_the_variable_that_was_set(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever never typed `--per` would look for it in vain."""
    monkeypatch.setenv(variable, value)
    path = f"{tmp_path}/edge.yaml"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name
        file.write(JOBFILE)
    ended = ran("run", path)
    option = "--" + variable.removeprefix("TESNAP_").lower().replace("_", "-")
    assert ended.code == 2
    assert variable in ended.stderr
    assert option not in ended.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--again", "run", "x"),
            "--again is before the command: write it after the command, as in `tesnap run --again ...`",
        ),
        (("-q", "run"), "-q is before the command: write it after the command, as in `tesnap run -q ...`"),
        (("--jobfile", "x", "run"), "`tesnap run` has no such option: see `tesnap run --help`"),
        (("--nothing",), "No such option '--nothing'"),
        (("help", "rum"), "did you mean 'run'?"),
    ],
)
def test_an_option_before_its_command_is_told_where_it_belongs(words: tuple[str, ...], says: str) -> None:
    """Also the short ones."""
    ended = typed(*words)
    assert ended.exit_code == 2
    assert says in " ".join(ended.output.split())


@pytest.mark.parametrize("words", [(), ("run",), ("report",)])
def test_help_is_what_many_type_first(words: tuple[str, ...]) -> None:
    """The same as `--help`."""
    assert typed("help", *words).output == typed(*words, "--help").output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("report", "-o", "x.pdf"), 2),
        (("report", "-o", "x.docx"), 2),
        (("run", "--report", "x.pdf", "none.yaml"), 2),
    ],
)
def test_a_report_of_an_unknown_kind_is_refused(words: tuple[str, ...], code: int) -> None:
    """With the kinds that there are."""
    ended = ran(*words)
    assert (ended.code, ended.stdout) == (code, "")
