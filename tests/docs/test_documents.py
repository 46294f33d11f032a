"""What the documents tell people to type can be typed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.commands import tesnap
from orchestrator.cli.snap import snap_command
from orchestrator.simulator import Simulator, TenantTag, World, serve
from tests.support.documents import COMMAND, AdhocRequest, code_of, pipelines
from tests.support.incident import alerting_world, posted

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNBOOK = ROOT / "docs" / "runbook.md"
COMMANDS_PAGE = ROOT / "docs" / "commands.md"


def parsed(words: AdhocRequest) -> None:
    """Read a command line as the command does, without running it; raises click's error."""
    with tesnap.make_context(COMMAND, list(words)) as context:
        name, command, rest = tesnap.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        with command.make_context(name, rest, parent=context):
            pass


def typed_in(path: Path) -> list[AdhocRequest]:
    """Every whole command line of a document."""
    lines, pieces = code_of(path)
    return [words for pipeline in pipelines([*lines, *pieces]) for words in pipeline if words]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param(path.name, words, id=f"{path.name}: {' '.join(words)}")
        for path in DOCUMENTS
        for words in typed_in(path)
    ],
)
def test_a_command_line_of_a_document_can_be_typed(document: str, words: AdhocRequest) -> None:
    """Its command exists and takes these options and values."""
    # --help and --version end with Exit; a sentence may name a command without its files
    with suppress(click.exceptions.Exit, click.MissingParameter):
        parsed(words)


@pytest.mark.parametrize("piece", [piece for piece in code_of(RUNBOOK)[1] if piece.startswith("--")])
def test_an_option_of_the_runbook_is_one_of_snap(piece: str) -> None:
    """What the tables add to a command fits; an option alone at least exists."""
    (words,) = pipelines([f"{COMMAND} snap 202701 --last 1h {piece}"])[0]
    option, value = words[4], words[5:]
    known = {name for one in snap_command.params for name in one.opts}
    assert option in known
    if value:
        parsed(words)


# ------------------------------------------------------------------------------ what is referred to is there


def anchors(path: Path) -> set[str]:
    """The places of a page that a link can name, as GitHub makes them of its headings."""
    heads = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(path: Path, text: str) -> Iterator[str]:
    """Links of a page that lead nowhere, and files and tests that it names and nobody has."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        if not page.exists() or (anchor and anchor not in anchors(page)):
            yield target
    for piece in re.findall(r"`([^`\s]+)`", text):
        top, slash, _ = piece.partition("/")
        if slash and top in {"orchestrator", "tests", "scripts", "docs", "deploy", "benchmarks", "stores"}:
            inside = ROOT / "orchestrator" if top == "stores" else ROOT
            if "<" not in piece and not (inside / piece).exists():
                yield piece
    tests = "".join(one.read_text("utf-8") for one in (ROOT / "tests").rglob("test_*.py"))
    yield from (name for name in re.findall(r"`(test_[a-z0-9]+_\w+)`", text) if f"def {name}(" not in tests)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_refers_to_is_there(path: Path) -> None:
    """Links lead to pages and headings, and the files and tests that are named exist."""
    assert list(broken(path, path.read_text("utf-8"))) == []


def test_what_leads_nowhere_is_found() -> None:
    """A page, a heading, a file and a test that are not there."""
    text = "[a](docs/none.md) [b](docs/laws.md#none) `tests/none.py` `test_nothing_at_all` [c](docs/laws.md#the-bucket)"
    found = list(broken(ROOT / "README.md", text))
    assert found == ["docs/none.md", "docs/laws.md#none", "tests/none.py", "test_nothing_at_all"]


@pytest.mark.parametrize("path", sorted((ROOT / "orchestrator").rglob("*.py")), ids=lambda path: path.name)
def test_a_page_that_the_code_names_is_there(path: Path) -> None:
    """A docstring sends its reader to a page that exists."""
    named = re.findall(r"docs/[\w./-]+\.md", path.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_wrong_command_line_is_found() -> None:
    """An option that is no more, and a command that never was."""
    for words in (("snap", "--alerts", "--last", "2h"), ("snapshot", "1"), ("report", "--format", "pdf")):
        with pytest.raises(click.UsageError):
            parsed(words)


def world() -> World:
    """A world that has what the runbook's examples look for, too."""
    made = alerting_world()
    (organization,) = made.organizations
    first, *others = organization.account_groups
    tests = (replace(first.tests[0], name="EU Checkout"), *first.tests[1:])
    tags = (*first.tags, TenantTag(tag_id="s", key="service", value="web", tests=(tests[0].test_id,)))
    groups = (replace(first, tests=tests, tags=tags), *others)
    return replace(made, organizations=(replace(organization, account_groups=groups),))


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[tuple[Simulator, dict[str, str]]]:
    """A simulator and the environment of a terminal in the early evening, when all times of the runbook are over."""
    simulator = Simulator(world(), period=0.3, latency=(0.0, 0.0))
    token = tmp_path / "token"
    token.write_text("token-1\n")
    ahead = (18 - time.gmtime().tm_hour + 11) % 24 - 11  # hours to where it is six o'clock
    with serve(simulator) as url:
        yield (
            simulator,
            {
                "TE_TOKEN_FILE": str(token),
                "TE_BASE_URL": url,
                "TESNAP_STORE": f"sqlite:///{tmp_path}/store.db",
                "TESNAP_PER": "300ms",
                "TESNAP_GUARD": "10ms",
                "TZ": f"Etc/GMT{-ahead:+d}",
            },
        )


def run(pipeline: list[AdhocRequest], environ: dict[str, str]) -> Result:
    """Each command with the output of the one before as its input; the last one's result."""
    text = ""
    for words in pipeline:
        result = CliRunner().invoke(tesnap, words, input=text, env=environ, standalone_mode=False)
        text = result.stdout
    return result


@pytest.mark.socket
def test_the_runbook_can_be_followed_from_top_to_bottom(
    environ: tuple[Simulator, dict[str, str]], tmp_path: Path
) -> None:
    """Every line of its code blocks does what it should, one after the other, at one store."""
    simulator, settings = environ
    pieces = [piece for piece in code_of(RUNBOOK)[1] if piece == "tesnap doctor"]
    for pipeline in pipelines([*code_of(RUNBOOK)[0], *pieces]):
        with chdir(tmp_path):
            result = run(pipeline, settings)
        assert result.return_value in (0, None), (pipeline, result.output, result.exception)
        assert result.exception is None, (pipeline, result.output)
        assert result.stdout.strip() or "--output" in pipeline[-1], pipeline
    assert len(posted(simulator.log)) > 12
    assert "Login 10" in (tmp_path / "INC-4711.html").read_text(encoding="utf-8")


@pytest.mark.socket
@pytest.mark.parametrize(
    "piece",
    [
        piece
        for piece in code_of(RUNBOOK)[1]
        if piece.startswith("--") and " " in piece and "FILE" not in piece
    ],
)
def test_a_row_of_the_runbook_gives_a_plan(piece: str, environ: tuple[Simulator, dict[str, str]]) -> None:
    """Each of them plans something when it is added to a snap that makes nothing."""
    timed = any(word in piece for word in ("--since", "--from", "--around"))
    selects = any(word in piece for word in ("--test-name", "--tag", "--type", "--alerting"))
    line = f"tesnap snap {'' if selects else '202701'} {'' if timed else '--last 1h'} --dry-run {piece}"
    result = run(pipelines([line])[0], environ[1])
    assert result.exception is None, (line, result.output, result.exception)
    assert "snapshot" in result.stdout


# ----------------------------------------------------------------------------------- docs/commands.md

JOBFILE = """
version: 1
name: demo
organizations: {acme: {token_env: TE_TOKEN, base_url: "${TE_BASE_URL}"}}
jobs:
  - {name: a, tests: ["202701", {id: "202702", test_name: not this}], windows: [{last: 1h, until: "00:00"}]}
  - {name: b, tests: ["202703"], windows: [{start: 2099-11-20T14:00:00Z, duration: 1h}]}
"""


def documented_keys(heading: str) -> set[str]:
    """The keys of a section's tables, and those that stand in parentheses before one."""
    (section,) = re.findall(
        rf"^### {heading}\n(.*?)(?=^##|\Z)", COMMANDS_PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    listed = ", ".join(re.findall(r"under the same key \((.*?)\)", section))
    return {*re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE), *re.findall(r"`(\w+)`", listed)}


def keys_in(value: object) -> set[str]:
    """All keys of a JSON document; those of counts and organizations are names."""
    if isinstance(value, list):
        return set().union(*map(keys_in, value))
    if not isinstance(value, dict):
        return set()
    named = {"counts", "organizations"}
    return set(value).union(*(keys_in(one) for key, one in value.items() if key not in named))


@pytest.mark.socket
@pytest.mark.parametrize(
    ("command", "heading", "rare"),
    [
        ("plan JOBFILE", "plan --json", {"account_group"}),
        ("validate BROKEN", "validate --json", set()),
        ("tests", "tests --json", set()),
        ("status", r"status --json and runs --json", {"refused", "part"}),
        (
            "runs",
            r"status --json and runs --json",
            {
                "organizations",
                "waiting",
                "refused",
                "part",
                *("reason", "left", "until", "done", "organization"),
            },
        ),
        ("doctor JOBFILE", "doctor --json", set()),
        ("config JOBFILE", "config --json", set()),
        ("prune --yes", "prune --json", set()),
    ],
)
def test_the_json_of_a_command_has_the_documented_keys(
    command: str, heading: str, rare: set[str], environ: tuple[Simulator, dict[str, str]], tmp_path: Path
) -> None:
    """Every key that is printed is documented, and every documented one is printed."""
    jobs, broken = tmp_path / "jobs.yaml", tmp_path / "broken.yaml"
    jobs.write_text(JOBFILE)
    broken.write_text(JOBFILE.replace("tests", "test"))
    settings = {**environ[1], "TE_TOKEN": "token-1"}
    for deadline in ("1s", "10s", "100s"):  # on a busy machine a second is not enough for what can be made
        made = run([("run", str(jobs), "--deadline", deadline, "--quiet")], settings).stdout
        if "snapshot.created" in made:
            break
    words = command.replace("JOBFILE", str(jobs)).replace("BROKEN", str(broken)).split()
    printed = keys_in(json.loads(run([(*words, "--json")], settings).stdout))
    assert printed == documented_keys(heading) - rare
